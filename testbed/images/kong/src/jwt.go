package main

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwtPlugin refuses requests without a valid token. Its responses are those of Kong's plugin.
type jwtPlugin struct {
	passive
	URIParamNames     []string `yaml:"uri_param_names" default:"jwt"`
	CookieNames       []string `yaml:"cookie_names"`
	HeaderNames       []string `yaml:"header_names" default:"authorization"`
	KeyClaimName      string   `yaml:"key_claim_name" default:"iss"`
	ClaimsToVerify    []string `yaml:"claims_to_verify" one_of:"exp nbf"`
	SecretIsBase64    bool     `yaml:"secret_is_base64"`
	RunOnPreflight    bool     `yaml:"run_on_preflight" default:"true"`
	MaximumExpiration float64  `yaml:"maximum_expiration" between:"0 31536000"`
	Realm             string   `yaml:"realm"`
}

var (
	bearerRule   = regexp.MustCompile(`\s*[Bb]earer\s+(.+)`)
	hmacMethods  = map[string]*jwt.SigningMethodHMAC{"HS256": jwt.SigningMethodHS256, "HS384": jwt.SigningMethodHS384, "HS512": jwt.SigningMethodHS512}
	tokenReading = jwt.NewParser(jwt.WithoutClaimsValidation())
)

func (p *jwtPlugin) check() error {
	if p.MaximumExpiration > 0 && !slices.Contains(p.ClaimsToVerify, "exp") {
		return errors.New("claims_to_verify: expected to contain: exp")
	}
	return nil
}

func (p *jwtPlugin) access(x *exchange) *answer {
	if !p.RunOnPreflight && x.request.Method == http.MethodOptions {
		return nil
	}
	challenge := "Bearer"
	if p.Realm != "" {
		challenge += ` realm="` + p.Realm + `"`
	}
	found := p.tokens(x.request)
	if len(found) == 0 {
		return unauthorized(challenge, map[string]any{"message": "Unauthorized"})
	}
	challenge += ` error="invalid_token"`
	refuse := func(message string) *answer { return unauthorized(challenge, map[string]any{"message": message}) }
	if len(found) > 1 {
		return refuse("Multiple tokens provided")
	}
	claims := jwt.MapClaims{}
	token, parts, err := tokenReading.ParseUnverified(found[0], claims)
	if err != nil {
		return refuse("Bad token; invalid JSON")
	}
	key, isText := claims[p.KeyClaimName].(string)
	if !isText {
		key, isText = token.Header[p.KeyClaimName].(string)
	}
	switch {
	case !isText:
		return refuse("No mandatory '" + p.KeyClaimName + "' in claims")
	case key == "":
		return refuse("Invalid '" + p.KeyClaimName + "' in claims")
	}
	credential := x.gateway.router.credentials[key]
	switch {
	case credential == nil:
		return refuse("No credentials found for given '" + p.KeyClaimName + "'")
	case token.Method.Alg() != credential.Algorithm:
		return refuse("Invalid algorithm")
	}
	secret := []byte(credential.Secret)
	if p.SecretIsBase64 {
		if secret, err = base64.StdEncoding.DecodeString(credential.Secret); err != nil {
			return refuse("Invalid key/secret")
		}
	}
	signed := parts[0] + "." + parts[1]
	if hmacMethods[credential.Algorithm].Verify(signed, token.Signature, secret) != nil {
		return refuse("Invalid signature")
	}
	if wrong := p.wrongClaims(claims, float64(time.Now().Unix())); len(wrong) > 0 {
		return unauthorized(challenge, wrong)
	}
	x.consumer, x.credential = credential.owner, credential
	header := x.request.Header
	for name, value := range map[string]string{
		"X-Consumer-ID": x.consumer.ID, "X-Consumer-Custom-ID": x.consumer.CustomID,
		"X-Consumer-Username": x.consumer.Username, "X-Credential-Identifier": credential.Key, "X-Anonymous-Consumer": "",
	} {
		if header.Del(name); value != "" {
			header.Set(name, value)
		}
	}
	return nil
}

// tokens returns the distinct tokens of the request.
func (p *jwtPlugin) tokens(r *http.Request) []string {
	var out []string
	add := func(text string) {
		if text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, name := range p.URIParamNames {
		for _, value := range r.URL.Query()[name] {
			add(value)
		}
	}
	for _, name := range p.CookieNames {
		if cookie, err := r.Cookie(name); err == nil {
			add(cookie.Value)
		}
	}
	for _, name := range p.HeaderNames {
		if parts := bearerRule.FindStringSubmatch(r.Header.Get(name)); parts != nil {
			add(parts[1])
		}
	}
	return out
}

func (p *jwtPlugin) wrongClaims(claims jwt.MapClaims, now float64) map[string]any {
	out := map[string]any{}
	for _, name := range p.ClaimsToVerify {
		value, isNumber := claims[name].(float64)
		switch {
		case !isNumber:
			out[name] = "must be a number"
		case name == "exp" && value <= now:
			out[name] = "token expired"
		case name == "nbf" && value > now:
			out[name] = "token not valid yet"
		}
	}
	if value, isNumber := claims["exp"].(float64); len(out) == 0 && isNumber && p.MaximumExpiration > 0 && value > now+p.MaximumExpiration {
		out["exp"] = "exceeds maximum allowed expiration"
	}
	return out
}

func unauthorized(challenge string, body map[string]any) *answer {
	return &answer{status: http.StatusUnauthorized, body: body, headers: map[string]string{"WWW-Authenticate": challenge}}
}
