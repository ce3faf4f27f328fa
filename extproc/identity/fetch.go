package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"aisix/admin/resource"
)

// lifetime is how long a role's credentials are to last: what every role allows, and
// role chaining at most.
const lifetime = time.Hour

// fetcher is what gets credentials once. It keeps nothing of what it got: the
// environment's files may have changed.
func (s *Source) fetcher(c resource.Credentials) (func(context.Context) (Token, error), error) {
	switch c := c.(type) {
	case resource.AssumeRole:
		return func(ctx context.Context) (Token, error) {
			source, err := s.sourceOf(ctx, c)
			if err != nil {
				return Token{}, err
			}
			return retrieve(ctx, stscreds.NewAssumeRoleProvider(s.sts(c.Region, source), c.RoleARN, func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName, o.Duration = c.SessionName, lifetime
				if c.ExternalID != "" {
					o.ExternalID = &c.ExternalID
				}
			}))
		}, nil
	case resource.WebIdentity:
		return func(ctx context.Context) (Token, error) {
			return retrieve(ctx, stscreds.NewWebIdentityRoleProvider(s.sts(c.Region, aws.AnonymousCredentials{}), c.RoleARN, tokenFile{s.Grants, c.TokenFile}, func(o *stscreds.WebIdentityRoleOptions) {
				o.RoleSessionName, o.Duration = resource.DefaultSessionName, lifetime
			}))
		}, nil
	case resource.Ambient:
		return func(ctx context.Context) (Token, error) {
			provider, err := s.ambient(ctx, c.Region)
			if err != nil {
				return Token{}, err
			}
			return retrieve(ctx, provider)
		}, nil
	}
	return nil, fmt.Errorf("identity: no token from %T", c)
}

// sourceOf is what asks for a role.
func (s *Source) sourceOf(ctx context.Context, c resource.AssumeRole) (aws.CredentialsProvider, error) {
	if c.Source == (resource.AccessKey{}) {
		return s.ambient(ctx, c.Region)
	}
	return credentials.NewStaticCredentialsProvider(c.Source.AccessKeyID, c.Source.SecretAccessKey.Reveal(), c.Source.SessionToken.Reveal()), nil
}

// ambient is what the host has, by the SDK's own order: environment, web identity,
// profile, ECS and EKS Pod Identity, EC2.
func (s *Source) ambient(ctx context.Context, region string) (aws.CredentialsProvider, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(region), config.WithHTTPClient(s.client()), config.WithRetryer(retryer)}
	if s.STSEndpoint != "" {
		options = append(options, config.WithBaseEndpoint(s.STSEndpoint))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	if c.Credentials == nil {
		return nil, errors.New("the host has no credentials")
	}
	return c.Credentials, nil
}

// sts is STS's regional endpoint, or the private one.
func (s *Source) sts(region string, credentials aws.CredentialsProvider) *sts.Client {
	o := sts.Options{Region: region, Credentials: credentials, HTTPClient: s.client(), Retryer: retryer()}
	if s.STSEndpoint != "" {
		o.BaseEndpoint = &s.STSEndpoint
	}
	return sts.New(o)
}

// retryer tries a second time soon. What goes on for longer is the lease's.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 2, 500*time.Millisecond })
}

func (s *Source) client() *awshttp.BuildableClient {
	c := awshttp.NewBuildableClient()
	if s.CAs != nil {
		c = c.WithTransportOptions(func(t *http.Transport) {
			if t.TLSClientConfig == nil {
				t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			t.TLSClientConfig.RootCAs = s.CAs
		})
	}
	// One request an hour needs no connection in between.
	return c.WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
}

// retrieve asks a provider once.
func retrieve(ctx context.Context, p aws.CredentialsProvider) (Token, error) {
	c, err := p.Retrieve(ctx)
	if err != nil {
		return Token{}, err
	}
	t := Token{AccessKeyID: c.AccessKeyID, SecretAccessKey: resource.Secret(c.SecretAccessKey), SessionToken: resource.Secret(c.SessionToken)}
	if c.CanExpire {
		t.Expires = c.Expires
	}
	if !c.HasKeys() {
		return Token{}, errors.New("the answer has no access key")
	}
	return t, nil
}

// tokenFile is a web identity token in a file of a folder that is granted. It is read
// anew each time, and no link leads out of the folder (Kubernetes' own, within it, are
// followed).
type tokenFile struct {
	grants resource.Grants
	path   string
}

// GetIdentityToken reads it.
func (f tokenFile) GetIdentityToken() ([]byte, error) {
	dir, in := f.grants.TokenDir(f.path)
	if dir == "" {
		return nil, errors.New("token_file lies in no folder of credentials.token_dirs")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	token, err := root.ReadFile(in)
	if err == nil && len(token) == 0 {
		err = fmt.Errorf("%s is empty", f.path)
	}
	return token, err
}
