//go:build tools

// Package compose pins Docker Compose, for machines whose package sources lack it.
package compose

import _ "github.com/docker/compose/v5/cmd"
