package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	security "istio.io/api/security/v1alpha1"
)

// An authority of two levels, which gives every client the same names.
type authority struct {
	security.UnimplementedIstioCertificateServiceServer
	root, issuer *x509.Certificate
	key          crypto.Signer
	uri          *url.URL
	dns          []string
	short        bool
}

func server(arguments []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	files := tlsFiles(flags)
	uri := flags.String("uri", "", "URI of the certificates")
	dns := flags.String("dns", "", "DNS name of the certificates")
	short := flags.Bool("short", false, "answer the leaf alone")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	config, err := files.config()
	if err != nil {
		return err
	}
	issuer, err := newAuthority()
	if err != nil {
		return err
	}
	if issuer.uri, err = url.Parse(*uri); err != nil {
		return err
	}
	if *dns != "" {
		issuer.dns = []string{*dns}
	}
	issuer.short = *short
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	security.RegisterIstioCertificateServiceServer(serving, issuer)
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		serving.Stop()
	}()
	return serving.Serve(listener)
}

func newAuthority() (*authority, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root := template("istio-root")
	root.IsCA, root.KeyUsage, root.BasicConstraintsValid = true, x509.KeyUsageCertSign, true
	rootCertificate, err := sign(root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	middle := template("istio-intermediate")
	middle.IsCA, middle.KeyUsage, middle.BasicConstraintsValid = true, x509.KeyUsageCertSign, true
	certificate, err := sign(middle, rootCertificate, key.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	return &authority{root: rootCertificate, issuer: certificate, key: key}, nil
}

func (a *authority) CreateCertificate(ctx context.Context, request *security.IstioCertificateRequest) (*security.IstioCertificateResponse, error) {
	block, _ := pem.Decode([]byte(request.Csr))
	if block == nil {
		return nil, status.Error(codes.InvalidArgument, "no certificate request")
	}
	wish, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = wish.CheckSignature()
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	leaf := template("")
	leaf.URIs, leaf.DNSNames = []*url.URL{a.uri}, a.dns
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	certificate, err := sign(leaf, a.issuer, wish.PublicKey, a.key)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	chain := []string{text(certificate), text(a.issuer), text(a.root)}
	if a.short {
		chain = chain[:1]
	}
	return &security.IstioCertificateResponse{CertChain: chain}, nil
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	subject := pkix.Name{}
	if name != "" {
		subject.CommonName = name
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-2 * time.Minute), NotAfter: now.Add(time.Hour)}
}

func sign(template, issuer *x509.Certificate, key crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func text(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

// Files of one side of a TLS connection.
type papers struct{ ca, certificate, key *string }

func tlsFiles(flags *flag.FlagSet) papers {
	return papers{
		flags.String("ca", "", "CA of the other side"),
		flags.String("certificate", "", "own certificate"),
		flags.String("private-key", "", "its key"),
	}
}

func (p papers) config() (*tls.Config, error) {
	text, err := os.ReadFile(*p.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("no CA")
	}
	pair, err := tls.LoadX509KeyPair(*p.certificate, *p.key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, nil
}
