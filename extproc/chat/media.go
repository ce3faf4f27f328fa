package chat

import "bytes"

// Inline reports whether the image's bytes are there.
func (i Image) Inline() bool { return len(i.Data)+len(i.Base64) > 0 }

// ImageFormat tells an image's format by its magic bytes: png, jpeg, gif or
// webp, or "" for anything else. What the sender called it does not count.
func ImageFormat(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return "png"
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return "jpeg"
	case bytes.HasPrefix(data, []byte("GIF87a")), bytes.HasPrefix(data, []byte("GIF89a")):
		return "gif"
	case len(data) >= 12 && bytes.HasPrefix(data, []byte("RIFF")) && string(data[8:12]) == "WEBP":
		return "webp"
	}
	return ""
}
