package admin

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// body reads a request's JSON text; it is empty if the request has none. types are
// the media types that it may have.
func body(a *answer, r *request, types ...string) ([]byte, error) {
	if r.ContentLength > MaxBody {
		return nil, tooLarge
	}
	if r.ContentLength > 0 {
		if err := checkType(r, types); err != nil {
			return nil, err
		}
	}
	a.unread = false
	text, err := io.ReadAll(http.MaxBytesReader(a.ResponseWriter, r.Body, MaxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, tooLarge
	}
	if err != nil {
		return nil, badRequest("", "body ended too soon")
	}
	if len(text) > 0 {
		err = checkType(r, types)
	}
	return text, err
}

// neededBody is body where there must be one.
func neededBody(a *answer, r *request, types ...string) ([]byte, error) {
	text, err := body(a, r, types...)
	if err == nil && len(text) == 0 {
		return nil, badRequest("", "a JSON body is needed")
	}
	return text, err
}

func checkType(r *request, types []string) error {
	given, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, has := params["charset"]
	encoding := r.Header.Get("Content-Encoding")
	if err != nil || !slices.Contains(types, given) || has && !strings.EqualFold(charset, "utf-8") || encoding != "" && encoding != "identity" {
		return &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "the body must be " + strings.Join(types, " or ") + ", in UTF-8, without Content-Encoding"}
	}
	return nil
}

var tooLarge = &problem{status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: "the body exceeds 2 MiB"}

const (
	jsonType  = "application/json"
	patchType = "application/merge-patch+json"
)
