package openai

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"path"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// imageURL is an inline image, told by its magic bytes, or an https URL that is
// still to be fetched.
type imageURL struct {
	URL     imageAddress   `json:"url"`
	Detail  *string        `json:"detail"`
	Unknown strict.Unknown `json:",embed"`
}

func (i *imageURL) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members imageURL
	return strict.Object(dec, (*members)(i), i)
}

func (i *imageURL) Check() *strict.Error {
	if i.URL.format == "" && i.URL.https == "" {
		return strict.Required("/url")
	}
	return strict.OneOf("/detail", i.Detail, "auto", "low", "high", "original")
}

// imageAddress is decoded where it is read, so that a large image is not copied first.
type imageAddress struct {
	format string
	data   []byte
	https  string
}

func (a *imageAddress) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	text, err := strict.Text(dec)
	if err != nil {
		return err
	}
	// The media type is not looked at: clients get it wrong, and Bedrock reads the bytes.
	text = bytes.TrimSpace(text)
	if data, _, ok := dataURL(text); ok {
		if a.data, a.format = data, chat.ImageFormat(data); a.format == "" {
			return strict.Errorf("", "is not a supported image: must be png, jpeg, gif or webp")
		}
		return nil
	}
	if hasPrefixFold(text, "data:") {
		return strict.Errorf("", "must be a data: URL with base64 data")
	}
	a.https = string(text)
	if u, err := url.Parse(a.https); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return strict.Errorf("", "must be a data: URL or an https: URL")
	}
	return nil
}

func (a *imageAddress) toChat(param string) chat.Block {
	return chat.Image{Format: a.format, Data: a.data, URL: a.https, Param: param}
}

// file is a document with its data inline, or an image. The magic bytes decide
// where there are any, then the name's extension, then the media type.
type file struct {
	FileData fileData       `json:"file_data"`
	Filename string         `json:"filename"`
	FileID   strict.Ignored `json:"file_id"`
	Unknown  strict.Unknown `json:",embed"`
}

type fileData struct {
	data  []byte
	media string
}

func (f *fileData) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	text, err := strict.Text(dec)
	if err != nil {
		return err
	}
	text = bytes.TrimSpace(text)
	var ok bool
	if f.data, f.media, ok = dataURL(text); !ok {
		f.data, ok = decodeBase64(text)
	}
	if !ok || len(f.data) == 0 {
		return strict.Errorf("", "must be a data: URL with base64 data, or base64, and not be empty")
	}
	return nil
}

func (f *file) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members file
	return strict.Object(dec, (*members)(f), f)
}

func (f *file) Check() *strict.Error {
	switch {
	case bool(f.FileID):
		return strict.Errorf("/file_id", "uploaded files are not supported: send the data in file_data")
	case f.FileData.data == nil:
		return strict.Required("/file_data")
	case chat.ImageFormat(f.FileData.data) == "" && f.documentFormat() == "":
		return strict.Errorf("", "is not a supported document: must be pdf, csv, doc, docx, xls, xlsx, html, txt or md (by filename or media type)")
	}
	return nil
}

func (f *file) toChat(param string) chat.Block {
	if format := chat.ImageFormat(f.FileData.data); format != "" {
		return chat.Image{Format: format, Data: f.FileData.data, Param: param}
	}
	return chat.Document{Name: f.Filename, Format: f.documentFormat(), Data: f.FileData.data, Param: param}
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

// documentFormat: only PDF has magic bytes of its own; an office document is a zip file like any.
func (f *file) documentFormat() string {
	if bytes.HasPrefix(f.FileData.data, []byte("%PDF-")) {
		return "pdf"
	}
	format := documentExtensions[strings.ToLower(path.Ext(f.Filename))]
	if format == "" {
		format = documentTypes[f.FileData.media]
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
	// RFC 2397 lets the data be percent-encoded, base64 or not.
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
