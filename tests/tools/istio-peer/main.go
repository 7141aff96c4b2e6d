// istio-peer speaks Istio's API of certificate authorities with Istio's own types, gRPC's own library and Go's own
// crypto/x509, so that tests of boshy have an independent peer.
//
//	istio-peer client ...   asks for a certificate as pilot-agent does, verifies it, and uses it in mutual TLS
//	istio-peer server ...   answers as an authority until its standard input is closed
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"client": client, "server": server}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: istio-peer client|server ...")
		os.Exit(64)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
