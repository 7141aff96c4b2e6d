// The bosh CLI, pinned: `go install PACKAGE@VERSION` would ask for a list of versions and would not be bound by go.sum.
module boshy/tests/tools/bosh-cli

go 1.24.0

require github.com/cloudfoundry/bosh-cli/v7 v7.9.12
