package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"aisix/cmd/bedrocksim/sigv4"
)

// STS speaks AWS's Query protocol: a form in, XML out (the model of service 2011-06-15).

const (
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/" + stsVersion + "/"
	stsAccount   = "123456789012"
	stsAudience  = "sts.amazonaws.com"
)

// stsFault is an error in STS's words.
type stsFault struct {
	status        int
	code, message string
}

func stsInvalid(format string, args ...any) *stsFault {
	return &stsFault{http.StatusBadRequest, "ValidationError", fmt.Sprintf(format, args...)}
}

// isSTS reports whether a request is for STS: its operations are all at the root.
func isSTS(r *http.Request) bool { return r.URL.Path == "/" }

// serveSTS answers one request.
func (s *Server) serveSTS(w http.ResponseWriter, r *http.Request, call *Call, body []byte) {
	w.Header().Set("X-Amzn-Requestid", call.RequestID)
	w.Header().Set("Content-Type", "text/xml")
	result, f := s.sts(r, call, body)
	status := http.StatusOK
	if f != nil {
		s.calls.change(func() { call.Exception = f.code })
		kind := "Sender"
		if f.status >= 500 {
			kind = "Receiver"
		}
		status, result = f.status, of("ErrorResponse", of("Error", leaf("Type", kind), leaf("Code", f.code), leaf("Message", f.message)), leaf("RequestId", call.RequestID))
		result.namespace = stsNamespace
	}
	w.WriteHeader(status)
	var out bytes.Buffer
	result.write(&out)
	w.Write(append(out.Bytes(), '\n'))
}

// sts is what STS does: who asks, then what.
func (s *Server) sts(r *http.Request, call *Call, body []byte) (tag, *stsFault) {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if media, _, e := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && r.Method == http.MethodPost {
		if e != nil || media != "application/x-www-form-urlencoded" {
			return tag{}, &stsFault{http.StatusNotFound, "UnknownOperationException", "The requested operation is not recognized by the service."}
		}
		form, err = url.ParseQuery(string(body))
	}
	if err != nil {
		return tag{}, &stsFault{http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error."}
	}
	action := form.Get("Action")
	s.calls.change(func() { call.Operation, call.Form = action, form })
	if !slices.Contains([]string{"AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"}, action) || form.Get("Version") != stsVersion {
		return tag{}, &stsFault{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %s for version %s", action, form.Get("Version"))}
	}
	if f := s.toldSTS(r); f != nil {
		return tag{}, f
	}
	if action == "AssumeRoleWithWebIdentity" { // the token is who asks
		return s.assumeWithWebIdentity(form, call)
	}
	who, err := s.verifier.Verify(r, body, "sts")
	if e := new(sigv4.Error); errors.As(err, &e) {
		return tag{}, inSTSWords(e)
	}
	s.calls.change(func() { call.AccessKeyID, call.Region = who.AccessKeyID, who.Region })
	as := s.lent.who(who.AccessKeyID)
	if action == "GetCallerIdentity" {
		return s.callerIdentity(call, as), nil
	}
	return s.assumeRole(form, as, call)
}

// inSTSWords is a refusal of a signature as Query services name it.
func inSTSWords(e *sigv4.Error) *stsFault {
	f := &stsFault{e.Status, strings.TrimSuffix(e.Type, "Exception"), e.Message}
	switch e.Type {
	case "UnrecognizedClientException":
		f.code = "InvalidClientTokenId"
	case "InvalidSignatureException":
		f.code = "SignatureDoesNotMatch"
	case "MissingAuthenticationTokenException":
		f.message = "Request is missing Authentication Token"
	case "IncompleteSignatureException":
		f.status = http.StatusBadRequest
	}
	return f
}

// toldSTS is what STS and the metadata services were told to do instead of answering.
func (s *Server) toldSTS(r *http.Request) *stsFault {
	switch how := s.calls.behaviour()["sts"]; how {
	case "deny":
		return &stsFault{http.StatusForbidden, "AccessDenied", "User: arn:aws:iam::" + stsAccount + ":user/gateway is not authorized to perform: sts:AssumeRole"}
	case "throttle":
		return &stsFault{http.StatusBadRequest, "Throttling", "Rate exceeded"}
	case "away":
		return &stsFault{http.StatusServiceUnavailable, "ServiceUnavailable", "The service is unavailable."}
	case "stall":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	return nil
}

var (
	roleARN     = regexp.MustCompile(`^arn:aws(-[a-z0-9-]+)?:iam::([0-9]{12}):role/([\w+=,.@/-]+)$`)
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalID  = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
	// A role whose path is /external-id/{id}/ trusts who says that id; one named denied nobody.
	trusts = regexp.MustCompile(`^external-id/(.+)/[^/]+$`)
)

// stsRole are the members that both ways to a role have in common.
type stsRole struct {
	arn, account, name, session string
	lasts                       time.Duration
}

func readRole(form url.Values, chained bool) (stsRole, *stsFault) {
	arn, session := form.Get("RoleArn"), form.Get("RoleSessionName")
	switch m := roleARN.FindStringSubmatch(arn); {
	case arn == "":
		return stsRole{}, stsInvalid("1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null")
	case len(arn) < 20:
		return stsRole{}, stsInvalid("1 validation error detected: Value '%s' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20", arn)
	case m == nil:
		return stsRole{}, stsInvalid("%s is invalid", arn)
	case !sessionName.MatchString(session):
		return stsRole{}, stsInvalid("1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*", session)
	default:
		seconds := 3600
		if text := form.Get("DurationSeconds"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 900 || n > 43200 {
				return stsRole{}, stsInvalid("1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200", text)
			}
			if n > 3600 && chained {
				return stsRole{}, stsInvalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
			}
			if n > 3600 {
				return stsRole{}, stsInvalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
			}
			seconds = n
		}
		return stsRole{arn, m[2], m[3], session, time.Duration(seconds) * time.Second}, nil
	}
}

// short is the role's name without its path.
func (r stsRole) short() string { return r.name[strings.LastIndexByte(r.name, '/')+1:] }

func (s *Server) assumeRole(form url.Values, as string, call *Call) (tag, *stsFault) {
	role, f := readRole(form, strings.Contains(as, ":assumed-role/"))
	if f != nil {
		return tag{}, f
	}
	id := form.Get("ExternalId")
	if id != "" && (len(id) > 1224 || !externalID.MatchString(id)) {
		return tag{}, stsInvalid("1 validation error detected: Value '%s' at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@:\\/-]*", id)
	}
	if m := trusts.FindStringSubmatch(role.name); m != nil && m[1] != id || role.short() == "denied" {
		return tag{}, &stsFault{http.StatusForbidden, "AccessDenied", "User: " + as + " is not authorized to perform: sts:AssumeRole on resource: " + role.arn}
	}
	return s.assumed("AssumeRole", role, call), nil
}

func (s *Server) assumeWithWebIdentity(form url.Values, call *Call) (tag, *stsFault) {
	role, f := readRole(form, false)
	if f != nil {
		return tag{}, f
	}
	token := form.Get("WebIdentityToken")
	if len(token) < 4 {
		return tag{}, stsInvalid("1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4")
	}
	invalid := &stsFault{http.StatusBadRequest, "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return tag{}, invalid
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
		Expires  int64           `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return tag{}, invalid
	}
	var audience []string
	if one := ""; json.Unmarshal(claims.Audience, &one) == nil {
		audience = []string{one}
	} else if json.Unmarshal(claims.Audience, &audience) != nil {
		return tag{}, invalid
	}
	now := s.verifier.Now()
	switch {
	case !now.Before(time.Unix(claims.Expires, 0)):
		return tag{}, &stsFault{http.StatusBadRequest, "ExpiredTokenException", fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), claims.Expires)}
	case !slices.Contains(audience, stsAudience):
		return tag{}, &stsFault{http.StatusBadRequest, "InvalidIdentityToken", "Incorrect token audience"}
	case role.short() == "denied":
		return tag{}, &stsFault{http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"}
	}
	return s.assumed("AssumeRoleWithWebIdentity", role, call,
		leaf("SubjectFromWebIdentityToken", claims.Subject), leaf("Audience", stsAudience), leaf("Provider", claims.Issuer)), nil
}

// assumed is what the two ways to a role answer.
func (s *Server) assumed(operation string, role stsRole, call *Call, more ...tag) tag {
	k := s.lend(fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", role.account, role.short(), role.session), role.lasts)
	result := append([]tag{
		of("AssumedRoleUser", leaf("AssumedRoleId", "AROA3XFRBF535PLBIFPI4:"+role.session), leaf("Arn", k.as)),
		of("Credentials", leaf("AccessKeyId", k.id), leaf("SecretAccessKey", k.Secret), leaf("SessionToken", k.Token), leaf("Expiration", k.Expires.UTC().Format(time.RFC3339))),
	}, more...)
	return stsAnswer(operation, call, result...)
}

func (s *Server) callerIdentity(call *Call, arn string) tag {
	account := strings.Split(arn, ":")[4]
	return stsAnswer("GetCallerIdentity", call, leaf("Arn", arn), leaf("UserId", "AIDACKCEVSQ6C2EXAMPLE"), leaf("Account", account))
}

func stsAnswer(operation string, call *Call, result ...tag) tag {
	answer := of(operation+"Response", of(operation+"Result", result...), of("ResponseMetadata", leaf("RequestId", call.RequestID)))
	answer.namespace = stsNamespace
	return answer
}

// tag is an element of XML.
type tag struct {
	name, namespace, text string
	in                    []tag
}

func of(name string, in ...tag) tag { return tag{name: name, in: in} }
func leaf(name, text string) tag    { return tag{name: name, text: text} }

func (t tag) write(b *bytes.Buffer) {
	b.WriteString("<" + t.name)
	if t.namespace != "" {
		b.WriteString(` xmlns="` + t.namespace + `"`)
	}
	b.WriteByte('>')
	xml.EscapeText(b, []byte(t.text))
	for _, one := range t.in {
		one.write(b)
	}
	b.WriteString("</" + t.name + ">")
}
