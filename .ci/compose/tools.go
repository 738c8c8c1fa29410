//go:build tools

// Package compose pins Docker Compose, for machines whose packages don't have it.
package compose

import _ "github.com/docker/compose/v5/cmd"
