package chat

import (
	"bytes"
	"path"
	"strings"
)

// DocumentFormat tells a document's format, one of Document.Format's, or "" for anything
// else. A PDF and what a program of Microsoft's wrote are told by their bytes; the rest by
// the extension of the name, then by the media type, which is in lower case and without
// parameters. Both may be "".
func DocumentFormat(data []byte, name, media string) string {
	said := documentExtensions[strings.ToLower(path.Ext(name))]
	if said == "" {
		said = documentTypes[media]
	}
	switch found := documentMagic(data); {
	case found != "":
		return found
	case said == "pdf" && !bytes.Contains(data[:min(len(data), pdfHead)], []byte(pdfMagic)):
		return "" // called one, but it is none
	}
	return said
}

const (
	pdfMagic = "%PDF-"
	pdfHead  = 1024 // in which readers look for it, where something stands before it
)

// documentMagic tells a format by the bytes alone. Office documents are archives like
// any: what tells them apart is the name of their main part, which stands in them plainly.
func documentMagic(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte(pdfMagic)):
		return "pdf"
	case bytes.HasPrefix(data, []byte("PK\x03\x04")): // zip
		return first(data, mainPart{"docx", "word/document.xml"}, mainPart{"xlsx", "xl/workbook.xml"})
	case bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")): // a compound file: names in UTF-16
		return first(data, mainPart{"doc", "W\x00o\x00r\x00d\x00D\x00o\x00c\x00u\x00m\x00e\x00n\x00t\x00"}, mainPart{"xls", "W\x00o\x00r\x00k\x00b\x00o\x00o\x00k\x00"})
	}
	return ""
}

// mainPart is what tells a format.
type mainPart struct{ format, name string }

func first(data []byte, parts ...mainPart) string {
	for _, p := range parts {
		if bytes.Contains(data, []byte(p.name)) {
			return p.format
		}
	}
	return ""
}

var documentExtensions = map[string]string{
	".pdf": "pdf", ".csv": "csv", ".doc": "doc", ".docx": "docx", ".xls": "xls", ".xlsx": "xlsx",
	".html": "html", ".htm": "html", ".txt": "txt", ".md": "md", ".markdown": "md",
}

var documentTypes = map[string]string{
	"application/pdf":    "pdf",
	"application/x-pdf":  "pdf",
	"text/csv":           "csv",
	"application/csv":    "csv",
	"application/msword": "doc",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
	"application/vnd.ms-excel": "xls",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
	"text/html":             "html",
	"application/xhtml+xml": "html",
	"text/plain":            "txt",
	"text/markdown":         "md",
	"text/x-markdown":       "md",
}
