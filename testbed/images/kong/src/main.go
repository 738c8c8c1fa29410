// A stand-in for Kong 3.9 without a database: it reads the same declarative file and the same KONG_* variables, and
// refuses what it doesn't implement instead of ignoring it. It contains no code of Kong.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	version   = "3.9.3"
	signature = "kong-stand-in/" + version
)

const usage = `Usage: kong COMMAND (a stand-in for Kong %s)

 docker-start          run in the foreground
 start                 the same
 config parse FILE     check a declarative file; exit code 1 with the reasons
 check                 check the KONG_* variables
 health                exit code 0 while the gateway of this prefix runs
 version
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch strings.Join(arguments, " ") {
	case "docker-start", "start":
		settings, err := readSettings(os.Environ())
		if err != nil {
			return err
		}
		return serve(settings)
	case "check":
		_, err := readSettings(os.Environ())
		if err == nil {
			fmt.Println("configuration is valid")
		}
		return err
	case "health":
		return health()
	case "version":
		fmt.Printf("%s (a stand-in: not Kong, only its configuration and its answers)\n", version)
		return nil
	}
	if len(arguments) == 3 && arguments[0] == "config" && arguments[1] == "parse" {
		content, err := os.ReadFile(arguments[2])
		if err != nil {
			return err
		}
		if _, err := parseDeclaration(content, nil); err != nil {
			return err
		}
		fmt.Println("parse successful")
		return nil
	}
	fmt.Fprintf(os.Stderr, usage, version)
	return fmt.Errorf("unknown command: %s", strings.Join(arguments, " "))
}

// health checks whether the gateway runs. The gateway has written its process ID into a file below its prefix.
func health() error {
	settings, err := readSettings(os.Environ())
	if err != nil {
		return err
	}
	content, err := os.ReadFile(pidFile(settings.prefix))
	if err != nil {
		return fmt.Errorf("Kong is not running at %s", settings.prefix)
	}
	process, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || syscall.Kill(process, 0) != nil {
		return fmt.Errorf("Kong is not running at %s", settings.prefix)
	}
	fmt.Printf("nginx.......running\n\nKong is healthy at %s\n", settings.prefix)
	return nil
}

func pidFile(prefix string) string { return filepath.Join(prefix, "pids", "nginx.pid") }
