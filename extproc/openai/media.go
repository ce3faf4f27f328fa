package openai

import (
	"bytes"
	"cmp"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// imageURL is an inline image, told by its magic bytes, or a document, or an https URL of
// an image that is still to be fetched.
type imageURL struct {
	URL     imageAddress   `json:"url"`
	Detail  *string        `json:"detail"`
	Unknown strict.Unknown `json:",embed"`
}

// UnmarshalJSONFrom reads an object, or its URL alone: OpenAI took that once, and others do.
func (i *imageURL) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '"' {
		return i.URL.UnmarshalJSONFrom(dec)
	}
	type members imageURL
	return strict.Object(dec, (*members)(i), i)
}

func (i *imageURL) Check() *strict.Error {
	if i.URL.data == nil && i.URL.base64 == nil && i.URL.https == "" {
		return strict.Required("/url")
	}
	return strict.OneOf("/detail", i.Detail, "auto", "low", "high", "original")
}

// imageAddress is decoded where it is read, so that a large image is not copied first.
// Its data may be a document: clients have one member for whatever a user attaches.
type imageAddress struct {
	format   string // of the image, "" is none
	document string // the document's, "" is none
	name     string // of the document
	data     []byte
	base64   []byte // instead of data: asItCame
	https    string
}

func (a *imageAddress) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	text, err := strict.Text(dec)
	if err != nil {
		return err
	}
	text = bytes.TrimSpace(text)
	if isDataURL(text) {
		if a.asItCame(text) {
			return nil
		}
		return a.decode(text)
	}
	a.https = string(text)
	if u, err := url.Parse(a.https); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return strict.Errorf("", "must be a data: URL or an https: URL")
	}
	return nil
}

// decode takes a data: URL. Of an image the media type is not looked at: clients get it
// wrong, and Bedrock reads the bytes.
func (a *imageAddress) decode(text []byte) error {
	u, ok := parseDataURL(text)
	switch {
	case !ok:
		return strict.Errorf("", "must be a data: URL whose data is base64 or percent-encoded text")
	case len(u.data) == 0:
		return strict.Errorf("", "has no data behind the comma of its data: URL")
	}
	a.data = u.data
	if a.format = chat.ImageFormat(u.data); a.format != "" {
		return nil
	}
	a.name, a.document = u.name, chat.DocumentFormat(u.data, u.name, u.media)
	if a.document == "" {
		return strict.Errorf("", "is not a supported image or document: must be png, jpeg, gif or webp, or "+documentFormats+" (by media type)")
	}
	return nil
}

func (a *imageAddress) toChat(param string) chat.Block {
	if a.document != "" {
		return chat.Document{Name: a.name, Format: a.document, Data: a.data, Param: param}
	}
	return chat.Image{Format: a.format, Data: a.data, Base64: a.base64, URL: a.https, Param: param}
}

// documentFormats are those of chat.Document, for errors.
const documentFormats = "pdf, csv, doc, docx, xls, xlsx, html, txt or md"

// file is a document with its data inline, or an image, whichever the bytes say.
type file struct {
	FileData fileData       `json:"file_data"`
	Filename string         `json:"filename"`
	FileID   strict.Ignored `json:"file_id"`
	Unknown  strict.Unknown `json:",embed"`
}

// fileData is a data: URL, or base64 alone, which has no media type.
type fileData struct{ dataURL }

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
	if isDataURL(text) {
		f.dataURL, ok = parseDataURL(text)
	} else {
		f.data, ok = decodeBase64(text)
	}
	if !ok || len(f.data) == 0 {
		return strict.Errorf("", "must be a data: URL, or base64, and not be empty")
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
	case chat.ImageFormat(f.FileData.data) == "" && f.format() == "":
		return strict.Errorf("", "is not a supported document: must be "+documentFormats+" (by filename or media type)")
	}
	return nil
}

func (f *file) toChat(param string) chat.Block {
	if format := chat.ImageFormat(f.FileData.data); format != "" {
		return chat.Image{Format: format, Data: f.FileData.data, Param: param}
	}
	return chat.Document{Name: f.name(), Format: f.format(), Data: f.FileData.data, Param: param}
}

func (f *file) format() string {
	return chat.DocumentFormat(f.FileData.data, f.name(), f.FileData.media)
}

func (f *file) name() string { return cmp.Or(f.Filename, f.FileData.name) }
