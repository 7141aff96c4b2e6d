package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	security "istio.io/api/security/v1alpha1"
)

// What the client has found in its certificate, as JSON.
type found struct {
	URIs     []string `json:"uris"`
	DNSNames []string `json:"dns_names"`
	Texts    int      `json:"texts"`
	Roots    int      `json:"roots"`
	Life     int64    `json:"life"`
	TLS      string   `json:"tls"`
}

func client(arguments []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	address := flags.String("address", "", "address of the authority")
	name := flags.String("name", "localhost", "name in the authority's certificate")
	from := flags.String("from", "", "source address")
	files := tlsFiles(flags)
	kind := flags.String("key", "ec", "ec or rsa")
	wish := flags.String("wish", "spiffe://cluster.local/ns/default/sa/default", "URI that the request asks for")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	config, err := files.config()
	if err != nil {
		return err
	}
	config.ServerName = *name
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		dialer := net.Dialer{}
		if *from != "" {
			dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(*from)}
		}
		return dialer.DialContext(ctx, "tcp", address)
	}
	connection, err := grpc.NewClient("passthrough:///"+*address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithContextDialer(dial))
	if err != nil {
		return err
	}
	defer connection.Close()

	key, err := newKey(*kind)
	if err != nil {
		return err
	}
	request, err := requestAsPilotAgent(key, *wish)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "ClusterID", "Kubernetes")
	response, err := security.NewIstioCertificateServiceClient(connection).CreateCertificate(ctx, request)
	if err != nil {
		return err
	}
	result, err := verify(response.CertChain, key)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func newKey(kind string) (crypto.Signer, error) {
	if kind == "rsa" {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// An empty organization, the identity as URI, and a signer in the metadata, as istio's security/pkg/nodeagent sends.
func requestAsPilotAgent(key crypto.Signer, wish string) (*security.IstioCertificateRequest, error) {
	uri, err := url.Parse(wish)
	if err != nil {
		return nil, err
	}
	template := x509.CertificateRequest{Subject: pkix.Name{Organization: []string{""}}, URIs: []*url.URL{uri}}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		return nil, err
	}
	signer, err := structpb.NewStruct(map[string]any{"CertSigner": ""})
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return &security.IstioCertificateRequest{Csr: string(text), ValidityDuration: 86400, Metadata: signer}, nil
}

// Istio's clients take the last text as roots, and everything before it as the chain that they present.
func verify(texts []string, key crypto.Signer) (*found, error) {
	if len(texts) < 2 {
		return nil, fmt.Errorf("%d texts, and Istio's clients need two", len(texts))
	}
	presented := tls.Certificate{PrivateKey: key}
	between := x509.NewCertPool()
	for number, text := range texts[:len(texts)-1] {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
			return nil, fmt.Errorf("text %d is not one certificate", number)
		}
		presented.Certificate = append(presented.Certificate, block.Bytes)
		between.AppendCertsFromPEM([]byte(text))
	}
	leaf, err := x509.ParseCertificate(presented.Certificate[0])
	if err != nil {
		return nil, err
	}
	roots, count := x509.NewCertPool(), 0
	for rest := []byte(texts[len(texts)-1]); ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		roots.AddCert(root)
	}
	if len(leaf.DNSNames) == 0 {
		return nil, fmt.Errorf("no DNS name")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		options := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}, DNSName: leaf.DNSNames[0]}
		if _, err := leaf.Verify(options); err != nil {
			return nil, err
		}
	}
	version, err := mutualTLS(presented, roots, leaf.DNSNames[0])
	if err != nil {
		return nil, fmt.Errorf("mutual TLS: %w", err)
	}
	result := &found{DNSNames: leaf.DNSNames, Texts: len(texts), Roots: count, TLS: version}
	result.Life = int64(leaf.NotAfter.Sub(leaf.NotBefore).Seconds())
	for _, uri := range leaf.URIs {
		result.URIs = append(result.URIs, uri.String())
	}
	return result, nil
}

// Both sides present the certificate.
func mutualTLS(certificate tls.Certificate, roots *x509.CertPool, name string) (string, error) {
	one, other := net.Pipe()
	accepting := tls.Server(one, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert})
	calling := tls.Client(other, &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, ServerName: name})
	failed := make(chan error, 1)
	go func() {
		_, err := accepting.Write([]byte("hello"))
		failed <- err
	}()
	greeting := make([]byte, 5)
	if _, err := calling.Read(greeting); err != nil {
		return "", err
	}
	return tls.VersionName(calling.ConnectionState().Version), <-failed
}
