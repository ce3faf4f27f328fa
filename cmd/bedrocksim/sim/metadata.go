package sim

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"aisix/cmd/bedrocksim/sigv4"
)

// The services of a host that give its role's credentials: those of a container (ECS by
// a path of its own, EKS Pod Identity with a token), and of an EC2 instance (IMDSv2).

// hostRole is the role of the host.
const hostRole = "bedrocksim-host"

// lent is the temporary credentials that were given out, and the sessions of IMDSv2.
type lent struct {
	mu   sync.Mutex
	as   map[string]string    // access key id -> ARN
	imds map[string]time.Time // token -> its end

}

// who is the ARN of whom an access key id belongs to.
func (l *lent) who(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if arn, ok := l.as[id]; ok {
		return arn
	}
	return "arn:aws:iam::" + stsAccount + ":user/gateway"
}

// loan is temporary credentials with what they stand for.
type loan struct {
	sigv4.Key
	id, as string
}

// lend makes temporary credentials, which last as long as the word session says.
func (s *Server) lend(as string, lasts time.Duration) loan {
	now := s.verifier.Now()
	lasts = s.calls.behaviour().duration("session", lasts)
	k := loan{id: "ASIA" + strings.ToUpper(random(16)), as: as, Key: sigv4.Key{
		Secret: random(40), Token: "IQoJb3JpZ2luX2VjE" + random(300),
		Expires: now.Add(lasts + time.Second - 1).Truncate(time.Second), // answers have no fractions
	}}
	s.verifier.Give(k.id, k.Key)
	s.lent.mu.Lock()
	defer s.lent.mu.Unlock()
	if s.lent.as == nil || len(s.lent.as) > 1<<16 {
		s.lent.as = map[string]string{}
	}
	s.lent.as[k.id] = as
	return k
}

// Where the credentials of a container are, of whichever path behind it.
const (
	eksCredentials = "/v1/credentials"
	ecsCredentials = "/v2/credentials/"
	imdsToken      = "/latest/api/token"
	imdsRoles      = "/latest/meta-data/iam/security-credentials/"
)

// isMetadata reports whether a request is for one of these services.
func isMetadata(r *http.Request) bool {
	return r.URL.Path == eksCredentials || strings.HasPrefix(r.URL.Path, ecsCredentials) || strings.HasPrefix(r.URL.Path, "/latest/")
}

// serveMetadata answers one request.
func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request, call *Call) {
	imds := strings.HasPrefix(r.URL.Path, "/latest/")
	operation := "container credentials"
	if imds {
		operation = "instance metadata"
	}
	s.calls.change(func() { call.Operation = operation })
	if f := s.toldSTS(r); f != nil {
		s.calls.change(func() { call.Exception = f.code })
		writeJSON(w, f.status, object{"code": f.code, "message": f.message})
		return
	}
	if imds {
		s.serveIMDS(w, r)
		return
	}
	switch {
	case r.Method != http.MethodGet:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case r.URL.Path == eksCredentials && strings.TrimSpace(r.Header.Get("Authorization")) == "":
		writeJSON(w, http.StatusUnauthorized, object{"code": "AccessDeniedException", "message": "Service account token cannot be empty"})
	default:
		k := s.hostLoan()
		writeJSON(w, http.StatusOK, object{"AccessKeyId": k.id, "SecretAccessKey": k.Secret, "Token": k.Token, "AccountId": stsAccount,
			"Expiration": k.Expires.UTC().Format(time.RFC3339)})
	}
}

func (s *Server) hostLoan() loan {
	return s.lend("arn:aws:sts::"+stsAccount+":assumed-role/"+hostRole+"/i-0123456789abcdef0", time.Hour)
}

// serveIMDS is IMDSv2: nothing without a session's token.
func (s *Server) serveIMDS(w http.ResponseWriter, r *http.Request) {
	now := s.verifier.Now()
	if r.URL.Path == imdsToken {
		const ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
		seconds, err := strconv.Atoi(r.Header.Get(ttl))
		switch {
		case r.Method != http.MethodPut:
			http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
		case err != nil || seconds < 1 || seconds > 21600 || r.Header.Get("X-Forwarded-For") != "":
			http.Error(w, "400 - Bad Request", http.StatusBadRequest)
		default:
			token := random(56)
			s.lent.mu.Lock()
			if s.lent.imds == nil || len(s.lent.imds) > 1<<12 {
				s.lent.imds = map[string]time.Time{}
			}
			s.lent.imds[token] = now.Add(time.Duration(seconds) * time.Second)
			s.lent.mu.Unlock()
			w.Header().Set(ttl, strconv.Itoa(seconds))
			writePlain(w, token)
		}
		return
	}
	s.lent.mu.Lock()
	until, known := s.lent.imds[r.Header.Get("X-Aws-Ec2-Metadata-Token")]
	s.lent.mu.Unlock()
	switch {
	case !known || !now.Before(until):
		http.Error(w, "401 - Unauthorized", http.StatusUnauthorized)
	case r.Method != http.MethodGet:
		http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
	case r.URL.Path == imdsRoles:
		writePlain(w, hostRole)
	case r.URL.Path == imdsRoles+hostRole:
		k := s.hostLoan()
		writeJSON(w, http.StatusOK, object{"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": now.UTC().Format(time.RFC3339),
			"AccessKeyId": k.id, "SecretAccessKey": k.Secret, "Token": k.Token, "Expiration": k.Expires.UTC().Format(time.RFC3339)})
	default:
		http.Error(w, "404 - Not Found", http.StatusNotFound)
	}
}

func writePlain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	w.Write([]byte(text))
}
