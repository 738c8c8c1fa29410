//go:build tools

// Package prometheus pins promtool and amtool, which check the rules, the configuration and the routes.
package prometheus

import (
	_ "github.com/prometheus/alertmanager/cmd/amtool"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
