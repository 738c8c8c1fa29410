package main

import (
	"crypto/sha1" //nolint:gosec // for an identifier, not for security
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// declaration is the file of KONG_DECLARATIVE_CONFIG. Entities may be nested in their owner, or at the top with the
// owner's name.
type declaration struct {
	FormatVersion string       `yaml:"_format_version" required:"yes" one_of:"3.0"`
	Comment       string       `yaml:"_comment"`
	Transform     bool         `yaml:"_transform" default:"true"`
	Services      []*service   `yaml:"services"`
	Routes        []*route     `yaml:"routes"`
	Consumers     []*consumer  `yaml:"consumers"`
	Credentials   []*jwtSecret `yaml:"jwt_secrets"`
	Plugins       []*pluginRow `yaml:"plugins"`

	hash string
}

type service struct {
	ID             string       `yaml:"id"`
	Name           string       `yaml:"name"`
	URL            string       `yaml:"url"`
	Protocol       string       `yaml:"protocol" default:"http" one_of:"http https"`
	Host           string       `yaml:"host"`
	Port           int          `yaml:"port" default:"80" between:"0 65535"`
	Path           string       `yaml:"path"`
	ConnectTimeout int          `yaml:"connect_timeout" default:"60000" between:"1 2147483646"`
	ReadTimeout    int          `yaml:"read_timeout" default:"60000" between:"1 2147483646"`
	WriteTimeout   int          `yaml:"write_timeout" default:"60000" between:"1 2147483646"`
	Retries        int          `yaml:"retries" default:"5" between:"0 32767"`
	Enabled        bool         `yaml:"enabled" default:"true"`
	Tags           []string     `yaml:"tags"`
	Routes         []*route     `yaml:"routes"`
	Plugins        []*pluginRow `yaml:"plugins"`
}

type route struct {
	ID                string       `yaml:"id"`
	Name              string       `yaml:"name"`
	Service           string       `yaml:"service"`
	Protocols         []string     `yaml:"protocols" default:"http https" one_of:"http https"`
	Methods           []string     `yaml:"methods"`
	Hosts             []string     `yaml:"hosts"`
	Paths             []string     `yaml:"paths"`
	RegexPriority     int          `yaml:"regex_priority"`
	StripPath         bool         `yaml:"strip_path" default:"true"`
	PreserveHost      bool         `yaml:"preserve_host"`
	PathHandling      string       `yaml:"path_handling" default:"v0" one_of:"v0"`
	RequestBuffering  bool         `yaml:"request_buffering" default:"true"`
	ResponseBuffering bool         `yaml:"response_buffering" default:"true"`
	RedirectStatus    int          `yaml:"https_redirect_status_code" default:"426" between:"301 426"`
	Tags              []string     `yaml:"tags"`
	Plugins           []*pluginRow `yaml:"plugins"`

	owner *service
}

type consumer struct {
	ID          string       `yaml:"id"`
	Username    string       `yaml:"username"`
	CustomID    string       `yaml:"custom_id"`
	Tags        []string     `yaml:"tags"`
	Credentials []*jwtSecret `yaml:"jwt_secrets"`
}

type jwtSecret struct {
	ID        string   `yaml:"id"`
	Consumer  string   `yaml:"consumer"`
	Key       string   `yaml:"key" required:"yes"`
	Secret    string   `yaml:"secret" required:"yes"`
	Algorithm string   `yaml:"algorithm" default:"HS256" one_of:"HS256 HS384 HS512"`
	Tags      []string `yaml:"tags"`

	owner *consumer
}

var (
	nameRule = regexp.MustCompile(`^[\p{L}\p{N}.\-_~]+$`)
	hostRule = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	pathRule = regexp.MustCompile(`^/[^?#\s]*$`)
)

// parseDeclaration checks the whole file; `allowed` is KONG_PLUGINS (nil: bundled).
func parseDeclaration(content []byte, allowed []string) (*declaration, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return nil, fmt.Errorf("failed parsing declarative configuration: %w", err)
	}
	d, s := &declaration{}, &strict{}
	if len(document.Content) == 0 {
		return nil, errors.New("failed parsing declarative configuration: it is empty")
	}
	setDefaults(reflect.ValueOf(d).Elem())
	s.read(document.Content[0], reflect.ValueOf(d).Elem(), "", "")
	if s.err() == nil {
		d.flatten(s)
		d.check(s)
		d.preparePlugins(s, allowed)
	}
	if err := s.err(); err != nil {
		return nil, fmt.Errorf("declarative configuration is invalid:\n%w", err)
	}
	d.hash = fmt.Sprintf("%x", sha256.Sum256(content))[:32]
	return d, nil
}

// flatten moves nested entities to the top and finds the owner of each.
func (d *declaration) flatten(s *strict) {
	for _, here := range d.Services {
		here.ID = identifier("services", here.ID, here.Name)
		for _, r := range here.Routes {
			r.owner = here
		}
		for _, p := range here.Plugins {
			p.service = here
		}
		d.Routes, d.Plugins = append(d.Routes, here.Routes...), append(d.Plugins, here.Plugins...)
	}
	for number, r := range d.Routes {
		path := fmt.Sprintf("routes[%d]", number+1)
		r.ID = identifier("routes", r.ID, r.Name)
		if r.owner == nil && r.Service != "" {
			r.owner = find(s, path+".service", d.Services, r.Service, func(o *service) []string { return []string{o.ID, o.Name} })
		}
		for _, p := range r.Plugins {
			p.route = r
		}
		d.Plugins = append(d.Plugins, r.Plugins...)
	}
	for _, c := range d.Consumers {
		c.ID = identifier("consumers", c.ID, c.Username+c.CustomID)
		for _, credential := range c.Credentials {
			credential.owner = c
		}
		d.Credentials = append(d.Credentials, c.Credentials...)
	}
	names := func(c *consumer) []string { return []string{c.ID, c.Username} }
	for number, credential := range d.Credentials {
		credential.ID = identifier("jwt_secrets", credential.ID, credential.Key)
		if credential.owner == nil {
			credential.owner = find(s, fmt.Sprintf("jwt_secrets[%d].consumer", number+1), d.Consumers, credential.Consumer, names)
		}
	}
}

func (d *declaration) check(s *strict) {
	seen := map[string]bool{}
	unique := func(path, kind, name string) {
		if name != "" && seen[kind+name] {
			s.refuse(path, "%s %q is there twice", kind, name)
		}
		seen[kind+name] = true
	}
	named := func(path, name string) {
		if name == "" {
			s.refuse(path, "this stand-in asks for a name")
		} else if !nameRule.MatchString(name) {
			s.refuse(path, "invalid value %q: letters, digits and .-_~", name)
		}
	}
	for number, here := range d.Services {
		path := fmt.Sprintf("services[%d]", number+1)
		named(path+".name", here.Name)
		unique(path+".name", "service", here.Name)
		here.spreadURL(s, path)
		if !hostRule.MatchString(here.Host) {
			s.refuse(path+".host", "invalid host name %q", here.Host)
		}
		if here.Path != "" && !pathRule.MatchString(here.Path) {
			s.refuse(path+".path", "should start with: /")
		}
	}
	for number, r := range d.Routes {
		path := fmt.Sprintf("routes[%d]", number+1)
		named(path+".name", r.Name)
		unique(path+".name", "route", r.Name)
		if len(r.Methods)+len(r.Hosts)+len(r.Paths) == 0 {
			s.refuse(path, "must set one of 'methods', 'hosts', 'paths'")
		}
		for _, text := range r.Paths {
			if pattern, isPattern := strings.CutPrefix(text, "~"); isPattern {
				if _, err := regexp.Compile(pattern); err != nil {
					s.refuse(path+".paths", "%v", err)
				}
			} else if !pathRule.MatchString(text) {
				s.refuse(path+".paths", "%q should start with: / (or ~ for a pattern)", text)
			}
		}
		for _, method := range r.Methods {
			if method == "" || strings.ToUpper(method) != method {
				s.refuse(path+".methods", "invalid value: %q", method)
			}
		}
	}
	for number, c := range d.Consumers {
		path := fmt.Sprintf("consumers[%d]", number+1)
		if c.Username+c.CustomID == "" {
			s.refuse(path, "at least one of these fields must be non-empty: 'custom_id', 'username'")
		}
		unique(path, "consumer", c.Username)
	}
	for number, credential := range d.Credentials {
		unique(fmt.Sprintf("jwt_secrets[%d]", number+1), "key", credential.Key)
	}
}

// spreadURL splits `url` into protocol, host, port and path.
func (here *service) spreadURL(s *strict, path string) {
	if here.URL == "" {
		return
	}
	parsed, err := url.Parse(here.URL)
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		s.refuse(path+".url", "expected http://HOST[:PORT][/PATH] or https://…, given %q", here.URL)
		return
	}
	here.Protocol, here.Host, here.Path = parsed.Scheme, parsed.Hostname(), parsed.Path
	here.Port = map[string]int{"http": 80, "https": 443}[parsed.Scheme]
	if port, err := strconv.Atoi(parsed.Port()); err == nil {
		here.Port = port
	}
}

// find returns the entity with a name or an identifier.
func find[T any](s *strict, path string, all []*T, name string, names func(*T) []string) *T {
	for _, one := range all {
		if name != "" && slices.Contains(names(one), name) {
			return one
		}
	}
	s.refuse(path, "there is no %q", name)
	return nil
}

// identifier returns the given ID, or one derived from the kind and the name. The derived ID is the same in every
// replica, because replicas share their counters in Redis.
func identifier(kind, given, name string) string {
	if given != "" {
		return given
	}
	sum := sha1.Sum([]byte(kind + ":" + name)) //nolint:gosec // for an identifier, not for security
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
