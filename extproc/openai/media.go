package openai

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"path"
	"slices"
	"strings"

	"aisix/extproc/chat"
)

// image decodes image_url: an inline image, told by its magic bytes, or an
// https URL that is still to be fetched.
func (d *decoder) image(v value, param string) chat.Block {
	var address value
	d.each(v, func(name string, m value) bool {
		switch name {
		case "url":
			address = m
		case "detail":
			// Bedrock reads every image at its full size.
			low := d.word(m, "auto", "low", "high", "original") == "low" && !slices.Contains(d.ignore, name)
			d.only(m, !low, "low is not possible: send a smaller image")
		default:
			return false
		}
		return true
	})
	if d.err != nil {
		return nil
	}
	if !address.present() {
		d.missing(v, "url")
		return nil
	}
	if !d.is(address, stringKind) {
		return nil
	}
	raw := bytes.TrimSpace(address.bytes())
	if data, _, ok := dataURL(raw); ok {
		format := chat.ImageFormat(data)
		if format == "" {
			d.fail(address, "is no image that can be read: png, jpeg, gif and webp are possible")
		}
		return chat.Image{Format: format, Data: data, Param: param}
	}
	if hasPrefixFold(raw, "data:") {
		d.fail(address, "must be a data: URL with base64 data")
		return nil
	}
	if u, err := url.Parse(string(raw)); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		d.fail(address, "must be a data: URL or an https: URL")
		return nil
	}
	return chat.Image{URL: string(raw), Param: param}
}

// file decodes a file part with its data inline. The magic bytes decide where
// there are any, then the name's extension, then the media type.
func (d *decoder) file(v value, param string) chat.Block {
	var content, name value
	d.each(v, func(field string, m value) bool {
		switch field {
		case "file_data":
			content = m
		case "filename":
			name = m
		case "file_id":
			d.fail(m, "uploaded files are not supported: send the data in file_data")
		default:
			return false
		}
		return true
	})
	if d.err != nil {
		return nil
	}
	if !content.present() {
		d.missing(v, "file_data")
		return nil
	}
	doc := chat.Document{Param: param}
	if name.present() {
		doc.Name = d.text(name)
	}
	if !d.is(content, stringKind) {
		return nil
	}
	raw := bytes.TrimSpace(content.bytes())
	data, media, ok := dataURL(raw)
	if !ok {
		data, ok = decodeBase64(raw)
	}
	if !ok || len(data) == 0 {
		d.fail(content, "must be a data: URL with base64 data, or base64, and not be empty")
		return nil
	}
	if format := chat.ImageFormat(data); format != "" {
		return chat.Image{Format: format, Data: data, Param: param}
	}
	doc.Data = data
	if doc.Format = documentFormat(data, doc.Name, media); doc.Format == "" {
		d.fail(v, "is no document that can be read: pdf, csv, doc, docx, xls, xlsx, html, txt and md are possible (told by filename or media type)")
	}
	return doc
}

var documentExtensions = map[string]string{
	".pdf": "pdf", ".csv": "csv", ".doc": "doc", ".docx": "docx", ".xls": "xls", ".xlsx": "xlsx",
	".html": "html", ".htm": "html", ".txt": "txt", ".md": "md", ".markdown": "md",
}

var documentTypes = map[string]string{
	"application/pdf":    "pdf",
	"text/csv":           "csv",
	"application/msword": "doc",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
	"application/vnd.ms-excel": "xls",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
	"text/html":     "html",
	"text/plain":    "txt",
	"text/markdown": "md",
}

func documentFormat(data []byte, name, media string) string {
	if bytes.HasPrefix(data, []byte("%PDF-")) {
		return "pdf"
	}
	format := documentExtensions[strings.ToLower(path.Ext(name))]
	if format == "" {
		format = documentTypes[media]
	}
	if format == "pdf" { // called one, but it is none
		return ""
	}
	return format
}

// dataURL gives the data and the media type (lower case, without parameters) of
// a data: URL with base64 data.
func dataURL(raw []byte) (data []byte, media string, ok bool) {
	if !hasPrefixFold(raw, "data:") {
		return nil, "", false
	}
	head, body, found := bytes.Cut(raw[len("data:"):], []byte(","))
	if !found || len(head) > 256 {
		return nil, "", false
	}
	words := strings.Split(strings.ToLower(string(head)), ";")
	if strings.TrimSpace(words[len(words)-1]) != "base64" {
		return nil, "", false
	}
	if bytes.IndexByte(body, '%') >= 0 {
		plain, err := url.PathUnescape(string(body))
		if err != nil {
			return nil, "", false
		}
		body = []byte(plain)
	}
	data, ok = decodeBase64(body)
	return data, strings.TrimSpace(words[0]), ok
}

// decodeBase64 is forgiving: white space anywhere, padding that is right, wrong
// or none, and either alphabet, since clients mix them up.
func decodeBase64(s []byte) ([]byte, bool) {
	if bytes.ContainsAny(s, "-_ \t\f\r\n") {
		s = bytes.Map(func(r rune) rune {
			switch r {
			case '-':
				return '+'
			case '_':
				return '/'
			case ' ', '\t', '\f', '\r', '\n':
				return -1
			}
			return r
		}, s)
	}
	s = bytes.TrimRight(s, "=")
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, err := base64.RawStdEncoding.Decode(out, s)
	return out[:n], err == nil
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}
