//! The one-machine BOSH: VMs as network namespaces, an embedded director, real Envoys.
