//! `DELETE /deployments/:name`.

use super::{
    instance,
    run::{Halt, Run, in_flight, step},
};
use crate::DirectorError;
use boshy_director::wire::Event;

/// Number of instances deleted at a time (director: `max_threads`).
const WIDTH: usize = 32;

/// Deletes the deployment of a task with all its instances.
pub(super) async fn delete(run: &Run, force: bool) -> Result<String, Halt> {
    let name = run.deployment().to_owned();
    let instances = run
        .with(|world, _| world.deployment(&name).map(|record| record.instances.clone()))
        .map_err(|_| DirectorError::no_deployment(&name))?;
    let parent_id = Some(run.with(|world, scribe| {
        let parent = world.journal.record(scribe.deployment("delete"));
        world.journal.record(scribe.lock("acquire"));
        parent
    }));
    let total = instances.len();
    let deletions = instances.iter().enumerate().map(|(index, instance)| async move {
        let step = step("Deleting instances", total, index, instance.title());
        run.step(&step, instance::delete(run, instance, true, force)).await
    });
    let deleted = in_flight(WIDTH, deletions).await;
    run.with(|world, scribe| {
        if deleted.is_ok() {
            world.deployments.remove(&name);
            world.dns.forget(&name);
            world.stores.variables.forget_deployment(&name);
            let artifacts = ["Detaching stemcells", "Detaching releases"].map(str::to_owned);
            world.journal.stage(scribe, "Removing deployment artifacts", &[], &artifacts);
            world.journal.stage(scribe, "Deleting properties", &[], &["Destroying deployment".to_owned()]);
        }
        let error = deleted.as_ref().err().map(Halt::text);
        world.journal.record(Event { parent_id, error, ..scribe.deployment("delete") });
        world.journal.record(scribe.lock("release"));
    });
    run.executor.sync_dns().await;
    deleted.map(|()| format!("/deployments/{name}"))
}
