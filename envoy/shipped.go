package envoy

import "path"

// domain is where callers find the gateway in the fragments that ship.
const domain = "ai.example.com"

// attachments are the folders below deploy/attach: for each, the oldest Envoy that
// takes it.
var attachments = map[string]Options{
	"envoy-1.39": {Version: 39, BodyMode: FullDuplex},
	"envoy-1.38": {Version: 38, BodyMode: FullDuplex},
	"envoy-1.36": {Version: 36, BodyMode: Buffered},
}

// Shipped are the files below deploy that this package makes, by their paths there.
// make generate writes them.
func Shipped() (map[string][]byte, error) {
	o := Defaults()
	o.ExtProc, o.MoreExtProcs = "unix:/sock/a.sock", []string{"unix:/sock/b.sock"} // as in docker-compose.yaml
	bootstrap, err := Bootstrap(o)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"bootstrap.yaml": bootstrap}
	for folder, of := range attachments {
		o := Defaults()
		o.Version, o.BodyMode = of.Version, of.BodyMode
		fragments, err := Attachment(o, domain)
		if err != nil {
			return nil, err
		}
		for name, b := range fragments {
			files[path.Join("attach", folder, name)] = b
		}
	}
	return files, nil
}
