package main

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sort"

	"gopkg.in/yaml.v3"
)

// plugin is the configuration and the behaviour of one kind of plugin.
type plugin interface {
	// access runs before the request is proxied; if it returns an answer, the request ends here.
	access(x *exchange) *answer
	// filter changes the headers of any response, including the gateway's own.
	filter(x *exchange, header http.Header)
	// log runs after the response was sent.
	log(x *exchange)
	// check validates combinations of fields; nil means valid.
	check() error
}

// passive does nothing in any phase; a plugin overrides the phases that it needs.
type passive struct{}

func (passive) access(*exchange) *answer      { return nil }
func (passive) filter(*exchange, http.Header) {}
func (passive) log(*exchange)                 {}
func (passive) check() error                  { return nil }

type pluginKind struct {
	priority int
	make     func(*pluginRow) plugin
}

// pluginKinds are the supported plugins, with Kong's priorities: the highest runs first.
var pluginKinds = map[string]pluginKind{
	"correlation-id":        {100001, func(*pluginRow) plugin { return &correlationID{} }},
	"cors":                  {2000, func(*pluginRow) plugin { return &cors{} }},
	"jwt":                   {1450, func(*pluginRow) plugin { return &jwtPlugin{} }},
	"request-size-limiting": {951, func(*pluginRow) plugin { return &sizeLimiting{} }},
	"rate-limiting":         {910, func(row *pluginRow) plugin { return &rateLimiting{scope: row} }},
	"response-transformer":  {800, func(*pluginRow) plugin { return &responseTransformer{} }},
	"prometheus":            {13, func(*pluginRow) plugin { return &prometheusPlugin{} }},
	"request-termination":   {2, func(*pluginRow) plugin { return &termination{} }},
}

type pluginRow struct {
	ID           string    `yaml:"id"`
	Name         string    `yaml:"name" required:"yes"`
	InstanceName string    `yaml:"instance_name"`
	Service      string    `yaml:"service"`
	Route        string    `yaml:"route"`
	Config       yaml.Node `yaml:"config"`
	Enabled      bool      `yaml:"enabled" default:"true"`
	Protocols    []string  `yaml:"protocols" default:"grpc grpcs http https" one_of:"grpc grpcs http https"`
	Tags         []string  `yaml:"tags"`

	service *service
	route   *route
	plugin  plugin
}

func (row *pluginRow) scopeIDs() (serviceID, routeID string) {
	if row.service != nil {
		serviceID = row.service.ID
	}
	if row.route != nil {
		routeID = row.route.ID
	}
	return serviceID, routeID
}

func (d *declaration) preparePlugins(s *strict, allowed []string) {
	taken := map[string]bool{}
	for number, row := range d.Plugins {
		path := fmt.Sprintf("plugins[%d] (%s)", number+1, row.Name)
		kind, known := pluginKinds[row.Name]
		isAllowed := allowed == nil || slices.Contains(allowed, "bundled") || slices.Contains(allowed, row.Name)
		if !known || !isAllowed {
			s.refuse(path, "plugin '%s' not enabled; add it to the 'plugins' configuration property", row.Name)
			continue
		}
		if row.Service != "" {
			row.service = find(s, path+".service", d.Services, row.Service, func(o *service) []string { return []string{o.ID, o.Name} })
		}
		if row.Route != "" {
			row.route = find(s, path+".route", d.Routes, row.Route, func(o *route) []string { return []string{o.ID, o.Name} })
		}
		serviceID, routeID := row.scopeIDs()
		if scope := row.Name + serviceID + routeID; taken[scope] {
			s.refuse(path, "is there twice for the same service and route")
		} else {
			taken[scope] = true
		}
		row.plugin = kind.make(row)
		record, before := reflect.ValueOf(row.plugin).Elem(), len(s.problems)
		setDefaults(record)
		if row.Config.Kind == 0 {
			row.Config = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		}
		s.read(&row.Config, record, path+".config", "")
		if len(s.problems) == before {
			if err := row.plugin.check(); err != nil {
				s.refuse(path+".config", "%v", err)
			}
		}
	}
}

// chain returns the plugins of a route (nil: no route) in order: of each kind, only the one with the narrowest scope.
func (d *declaration) chain(r *route) []plugin {
	chosen, rank := map[string]*pluginRow{}, map[string]int{}
	for _, row := range d.Plugins {
		if !row.Enabled || row.route != nil && row.route != r || row.service != nil && (r == nil || row.service != r.owner) {
			continue
		}
		here := 1
		if row.service != nil {
			here += 1
		}
		if row.route != nil {
			here += 2
		}
		if here > rank[row.Name] {
			chosen[row.Name], rank[row.Name] = row, here
		}
	}
	var rows []*pluginRow
	for _, row := range chosen {
		rows = append(rows, row)
	}
	sort.Slice(rows, func(a, b int) bool { return pluginKinds[rows[a].Name].priority > pluginKinds[rows[b].Name].priority })
	var out []plugin
	for _, row := range rows {
		out = append(out, row.plugin)
	}
	return out
}
