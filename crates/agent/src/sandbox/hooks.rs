//! The confinement of what a project runs around worktrees: `setup`, `teardown`, and gates that a person tries.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use oodatcaa_config::{Caches, Config, Confine, Confined, Confinee, SandboxMode, World};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

use super::{Confinement, Place, Private, Program, ThisMachine, confine};

/// Says in a configuration how the project's own commands are confined.
pub fn confine_hooks(config: &mut Config, layout: &Layout) {
    let sandbox = config.sandbox_of_hooks();
    if sandbox.mode == SandboxMode::Off {
        config.workspace.confine = Confine::Nothing;
        return;
    }
    // Caches of their own, for all worktrees of the project: what they get is made by the project's own commands.
    let caches = layout.homes().filter(|_| sandbox.caches == Caches::Own).map(|homes| homes.join("hooks"));
    // Found when the first of them runs: most programs that read a configuration run none.
    let (layout, read) = (layout.clone(), config.clone());
    let place = LazyLock::new(move || {
        let (root, world) = (layout.root().to_owned(), World::of_process());
        Place::of(Program::Hook, layout.clone(), root.clone(), Private::of(&root), &world, &read)
    });
    config.workspace.confine = Confine::By(Arc::new(move |what: Confinee<'_>, run_dir: &Path| {
        let private = Private::of(run_dir);
        let mut place = Place { private: private.clone(), ..place.clone() };
        let caches = match what {
            Confinee::Hook(top) => {
                place.top = top.into();
                caches.as_ref()
            }
            Confinee::Git(own) => {
                (place.program, place.top, place.own_git) = (Program::Git, own.into(), Some(own.into()));
                None
            }
        };
        let made = || match (caches, place.layout.user_base()) {
            (Some(caches), Some(base)) => files::make_dir(base, &caches.join("cache")).map(|()| Some(caches.clone())),
            _ => Ok(None),
        };
        place.slot = made().map_err(|error| format!("its caches cannot be made: failed to {error}"))?;
        let Confinement { profile, env } =
            confine(&sandbox, &place, &ThisMachine).map_err(|why| format!("it cannot {why}"))?;
        let mut profile = profile.expect("the sandbox is on");
        let prepared = private.prepare().and_then(|()| profile.write(run_dir));
        let profile = prepared.map_err(|error| format!("its sandbox cannot be prepared: {error}"))?;
        Ok(Confined { profile, env, until: Box::new(Until(private)) })
    }));
}

/// Removes a program's own directories with this.
struct Until(Private);

impl Drop for Until {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            log::warn!("{} stays: {error}", self.0.tmp().display());
        }
    }
}
