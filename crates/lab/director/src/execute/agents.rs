//! Tasks that only query agents: `?format=full`, and logs.

use std::time::Duration;

use futures::future::join_all;

use super::run::{Halt, Run, in_flight, step};
use crate::{
    AgentState, DirectorError,
    world::{Instance, Vm},
};

/// Time for an agent to report its state (director: five seconds).
const PATIENCE: Duration = Duration::from_secs(5);

/// An agent's report about its VM; `None` when it does not answer in time.
pub(super) async fn state_of(run: &Run, vm: &Vm) -> Option<AgentState> {
    tokio::time::timeout(PATIENCE, run.infrastructure().state(&vm.cid)).await.ok()?.ok()
}

/// A row for each instance, as reported by its agent.
pub(super) async fn report(run: &Run, only_vms: bool) -> Result<String, Halt> {
    let record = run.with(|world, scribe| world.deployment(&scribe.deployment).cloned())?;
    let asked = record.instances.iter().filter(|instance| !only_vms || instance.vm.is_some()).map(|instance| async {
        match &instance.vm {
            Some(vm) => instance.agent_row(&record, Some(state_of(run, vm).await)),
            None => instance.agent_row(&record, None),
        }
    });
    let mut lines = String::new();
    for row in join_all(asked).await {
        lines.push_str(&serde_json::to_string(&row).unwrap_or_default());
        lines.push('\n');
    }
    run.with(|world, scribe| world.journal.set_result_output(scribe.task, lines));
    Ok(String::new())
}

/// The logs of some instances as an archive for download. The task's result is its id.
pub(super) async fn logs(run: &Run, group: &str, id: &str) -> Result<String, Halt> {
    let instances =
        run.with(|world, scribe| Ok::<_, DirectorError>(world.deployment(&scribe.deployment)?.instances.clone()))?;
    let is_meant = |instance: &&Instance| {
        (group == "*" || instance.group == group)
            && (id == "*" || instance.id == id || instance.index.to_string() == id)
            && instance.vm.is_some()
    };
    let meant: Vec<&Instance> = instances.iter().filter(is_meant).collect();
    if meant.is_empty() {
        return Err(DirectorError::no_instance(run.deployment(), group, id).into());
    }
    let (total, archives) = (meant.len(), std::sync::Mutex::new(Vec::new()));
    let fetches = meant.into_iter().enumerate().map(|(index, instance)| {
        let archives = &archives;
        async move {
            let stage = if total == 1 { "Fetching logs for " } else { "Fetching group of logs" };
            let name = format!("Finding and packing log files for {}", instance.title());
            let fetched = async {
                let Some(vm) = &instance.vm else { return Ok(()) };
                let bytes = run.infrastructure().logs(&vm.cid).await.map_err(|error| run.agent_failed(&error))?;
                let file = format!("{}.{}.{index}.tgz", instance.group, instance.id);
                crate::server::lock(archives).push((file, bytes));
                Ok(())
            };
            run.step(&step(stage, total, index, name), fetched).await
        }
    });
    in_flight(8, fetches).await?;
    let mut archives = archives.into_inner().unwrap_or_default();
    let bytes = if archives.len() == 1 { archives.remove(0).1 } else { bundle(archives)? };
    Ok(run.with(|world, _| world.keep_blob(bytes)))
}

/// One gzipped tar archive of several files.
fn bundle(mut files: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, Halt> {
    files.sort();
    let failed = |error: std::io::Error| DirectorError::new(500, 100, format!("Packing logs failed: {error}"));
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes.as_slice()).map_err(failed)?;
    }
    let packed = archive.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(failed)?;
    Ok(packed)
}
