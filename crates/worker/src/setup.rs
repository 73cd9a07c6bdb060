//! What a worker is made of, and what its main loop and its attempts share.

use std::{sync::OnceLock, time::Duration};

use crate::{merge_queue::MergeQueue, post::Post};
use oodatcaa_agent::{
    Agent,
    sandbox::{Place, Private, Program},
};
use oodatcaa_config::{Config, GateConfig, RoleConfig, World};
use oodatcaa_core::{
    ChangeSet, Owner, Role, RoleRule, Snapshot, Workflow, event::Actor, layout::Layout, pool::Offer, text::chain,
};
use oodatcaa_process::Shims;
use oodatcaa_store::Desk;

/// Everything a worker is made of.
pub struct Setup {
    /// The paths of the project.
    pub layout: Layout,
    /// The configuration.
    pub config: Config,
    /// The role's row of the workflow.
    pub rule: RoleRule,
    /// How the role works.
    pub role: RoleConfig,
    /// The role's agents, the preferred one first; the next works while the quota of those before it is used up.
    pub agents: Vec<Agent>,
    /// The agents of the role that cannot work here, and why not.
    pub lacks: Vec<(String, String)>,
    /// Its name: that of its pid file.
    pub name: String,
    /// The identity of this process.
    pub owner: Owner,
    /// Attempts at once; the role's WIP limit when absent.
    pub slots: Option<u32>,
    /// The fallback poll.
    pub interval: Duration,
    /// One poll, claim, run and settle, then leave.
    pub once: bool,
    /// Claim beyond the WIP limit.
    pub ignore_wip: bool,
    /// The place where attempts and gates get their shims.
    pub shims: Shims,
}

/// What attempts and main loop share.
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) store: Desk,
    /// The mail of its role.
    pub(crate) post: Post,
    /// The place where this worker's merges meet.
    pub(crate) merge_queue: MergeQueue,
    /// The places of all that runs here, once something does.
    pub(crate) place: OnceLock<Place>,
}

impl Shared {
    pub(crate) fn workflow(&self) -> &Workflow {
        &self.setup.config.workflow
    }

    pub(crate) fn role(&self) -> &Role {
        &self.setup.rule.role
    }

    /// Returns the agent that a lease names; a lease is only taken with one of them.
    pub(crate) fn agent(&self, by: &str) -> &Agent {
        let named = self.setup.agents.iter().find(|agent| agent.name() == by);
        named.or(self.setup.agents.first()).expect("a worker has an agent")
    }

    /// Returns the pools from which the role's agents draw.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let offer = |agent: &Agent| Offer { by: agent.name().into(), pool: agent.pool(), simulated: agent.simulated() };
        self.setup.agents.iter().map(offer).collect()
    }

    /// Commits what is only to be noted; `false` where the store cannot be written, which stops no work.
    pub(crate) fn note(&self, what: &str, decide: impl Fn(&Snapshot) -> ChangeSet) -> bool {
        let noted = self.store.transact(&mut |snapshot| decide(snapshot));
        if let Err(error) = &noted {
            log::warn!("cannot note {what}: failed to {}", chain(error));
        }
        noted.is_ok()
    }

    /// Returns the places of all that runs here, before those of an attempt are known.
    pub(crate) fn place(&self) -> &Place {
        self.place.get_or_init(|| {
            let Setup { layout, config, .. } = &self.setup;
            let root = layout.root().to_owned();
            Place::of(Program::Agent, layout.clone(), root.clone(), Private::of(&root), &World::of_process(), config)
        })
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::Worker(self.setup.owner.tag.clone())
    }

    pub(crate) fn gate(&self, name: &str) -> Option<&GateConfig> {
        self.setup.config.gates.get(name)
    }
}
