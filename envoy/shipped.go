package envoy

import (
	"errors"
	"path"

	"google.golang.org/protobuf/proto"
)

// Where callers find the gateway in the fragments that ship, and the origin of a page that
// may call.
const (
	domain = "ai.example.com"
	origin = "https://app.example.com"
)

// egressSocket is where these have the egress listener: beside extproc's socket, where extproc
// looks for it by itself.
const egressSocket = "unix:/run/aisix/egress.sock"

// attachments are the folders below deploy/attach: for each, the oldest Envoy that
// takes it.
var attachments = map[string]Options{
	"envoy-1.39": {Version: 39, BodyMode: FullDuplex},
	"envoy-1.38": {Version: 38, BodyMode: FullDuplex},
	"envoy-1.37": {Version: 37, BodyMode: Buffered},
	"envoy-1.36": {Version: 36, BodyMode: Buffered},
}

// istioProxies are the folders below deploy/attach/istio, with the pages' examples.
var istioProxies = map[string]IstioProxy{
	"gateway": {Context: "GATEWAY", Namespace: "istio-system", Labels: map[string]string{"istio": "ingressgateway"}},
	"sidecar": {Context: "SIDECAR_OUTBOUND", Namespace: "default", Labels: map[string]string{"app": "web"}},
}

// istio are the files of one of these folders that this package makes.
func istio(p IstioProxy) (map[string][]byte, error) {
	older, newer := Defaults(), Defaults()
	older.Version, older.BodyMode, newer.Version = 37, Buffered, 39
	const service = "extproc.aisix.svc.cluster.local"
	files := map[string][]byte{}
	var errs []error
	add := func(name string, b []byte, err error) {
		files[name] = b
		errs = append(errs, err)
	}
	b, err := EnvoyFilter(newer, domain, p)
	add("full-duplex.yaml", b, err)
	b, err = EnvoyFilter(older, domain, p)
	add("buffered.yaml", b, err)
	b, err = EnvoyFilterExtProc(newer, "", p)
	add("extproc-unix.yaml", b, err)
	b, err = EnvoyFilterExtProc(newer, service, p)
	add("extproc-mtls.yaml", b, err)
	older.Egress = egressSocket
	b, err = EnvoyFilterEgress(older, p) // with either of the two
	add("egress.yaml", b, err)
	newer.AllowOrigins = []string{origin}
	b, err = EnvoyFilterBrowsers(newer, domain, p)
	add("browsers.yaml", b, err)
	return files, errors.Join(errs...)
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
		o.Version, o.BodyMode, o.Egress = of.Version, of.BodyMode, egressSocket
		fragments, err := Attachment(o, domain)
		if err != nil {
			return nil, err
		}
		for name, b := range fragments {
			files[path.Join("attach", folder, name)] = b
		}
	}
	o = Defaults()
	o.AllowOrigins = []string{origin}
	for folder, fragments := range map[string]map[string]proto.Message{"browsers": forBrowsers(o), "access-log": ownLog(), "http2": forHTTP2(), "xds": discovered()} {
		for name, m := range fragments {
			if files[path.Join("attach", folder, name)], err = render(m); err != nil {
				return nil, err
			}
		}
	}
	if files["attach/envoy-gateway/patches.yaml"], err = EnvoyPatchPolicy(Defaults()); err != nil {
		return nil, err
	}
	o = Defaults()
	o.Egress = egressSocket
	if files["attach/envoy-gateway/egress.yaml"], err = EnvoyPatchPolicyEgress(o); err != nil {
		return nil, err
	}
	for folder, p := range istioProxies {
		filters, err := istio(p)
		if err != nil {
			return nil, err
		}
		for name, b := range filters {
			files[path.Join("attach", "istio", folder, name)] = b
		}
	}
	return files, nil
}
