//! `boshy lab` and `boshy httpbin`.

use std::{env, net::IpAddr, process::ExitCode};

use anyhow::Context;
use boshy_lab::{LabCommand, LabSettings, MeshSettings, VmFacts, httpbin::HttpbinCommand};
use boshy_mesh::NodeId;
use boshy_xds::{Bootstrap, Flavour};

pub(crate) fn run(command: &LabCommand) -> anyhow::Result<ExitCode> {
    let boshy = env::current_exe().context("find this program, which every process of the lab is made from")?;
    let mesh = MeshSettings { bootstrap };
    Ok(boshy_lab::run(command, LabSettings { boshy, mesh: Some(mesh) })?)
}

pub(crate) fn httpbin(command: &HttpbinCommand) -> anyhow::Result<ExitCode> {
    boshy_lab::httpbin::run(command)?;
    Ok(ExitCode::SUCCESS)
}

fn bootstrap(vm: &VmFacts) -> String {
    let bootstrap = Bootstrap {
        node: NodeId::sidecar(IpAddr::V4(vm.ip), &vm.id, "x"),
        ads_socket: "/var/vcap/data/virtual-ip-agent/ads.sock".into(),
        admin: ([127, 0, 0, 1], 8001).into(),
        flavour: Flavour::Delta,
    };
    format!("{:#}\n", bootstrap.to_json())
}
