//! Uploads of releases and stemcells.

use std::{fs, sync::Arc};

use super::run::{Halt, Run};
use crate::{
    DirectorError,
    stores::{Admitted, Stemcell, Upload, read_upload},
    world::UploadOrder,
};

/// Stores an upload.
pub(super) async fn take(run: &Run, order: UploadOrder) -> Result<String, Halt> {
    match order {
        UploadOrder::Release { tarball, upload } => release(run, tarball, upload).await,
        UploadOrder::ReleaseAt(location) => {
            let admitted = run.with(|world, _| world.stores.releases.admit_location(&location))?;
            Ok(tell(run, admitted))
        }
        UploadOrder::Stemcell(archive) => {
            let read = move || Stemcell::from_archive(&archive);
            #[expect(
                clippy::disallowed_methods,
                reason = "its end is waited for, and its panic is an error of the task"
            )]
            let stemcell = tokio::task::spawn_blocking(read).await.map_err(|_| lost())??;
            Ok(keep(run, stemcell))
        }
        UploadOrder::StemcellAt(location) => Ok(keep(run, Stemcell::from_location(&location)?)),
    }
}

async fn release(run: &Run, tarball: Arc<Vec<u8>>, upload: Upload) -> Result<String, Halt> {
    let incoming = run.with(|world, _| world.stores.releases.incoming());
    let folder = incoming.clone();
    #[expect(clippy::disallowed_methods, reason = "its end is waited for, and its panic is an error of the task")]
    let read = tokio::task::spawn_blocking(move || read_upload(&tarball, &folder)).await.map_err(|_| lost());
    let admitted = read
        .and_then(|read| read)
        .and_then(|release| run.with(|world, _| world.stores.releases.admit(release, upload)));
    // Files that are needed have been moved away; the rest is discarded.
    let _ = fs::remove_dir_all(incoming);
    Ok(tell(run, admitted?))
}

fn tell(run: &Run, admitted: Admitted) -> String {
    run.with(|world, scribe| {
        for (stage, steps) in &admitted.stages {
            world.journal.stage(scribe, stage.clone(), &[], steps);
        }
    });
    admitted.result
}

fn keep(run: &Run, stemcell: Stemcell) -> String {
    run.with(|world, scribe| {
        let title = format!("{}/{}", stemcell.name, stemcell.version);
        let known = !world.stores.stemcells.needs(&stemcell.name, &stemcell.version);
        let note = if known { " (already exists)" } else { "" };
        world.stores.stemcells.add(stemcell);
        let steps =
            [format!("Checking if this stemcell already exists: {title}{note}"), format!("Save stemcell {title}")];
        world.journal.stage(scribe, "Update stemcell", &[], &steps);
        format!("/stemcells/{title}")
    })
}

fn lost() -> DirectorError {
    DirectorError::new(500, 100, "Reading the upload was interrupted")
}
