//! Roles as they are configured.

use super::{SettingView, WrittenView};
use oodatcaa_core::{Role, Status};

views! {
    /// A role and its way through the statuses.
    pub struct RoleEntry = "oodatcaa/role.v1" {
        /// Its name.
        pub role: Role,
        /// The preset that it comes from; `null` for one of the project's or the user's own.
        pub preset: Option<String>,
        /// The status that it claims.
        pub takes: Status,
        /// The status while it works.
        pub works: Status,
        /// The status after success.
        pub done: Status,
        /// The status after success of a task with parts, where that is another.
        pub done_with_children: Option<Status>,
        /// The status when attempts are used up.
        pub failed: Status,
        /// The status when its agent asks for a new plan, where that is another than `failed`.
        pub replan: Option<Status>,
        /// True if it works without an agent: its attempts are its gates.
        pub agentless: bool,
        /// The agents that work, the preferred one first.
        pub agents: Vec<String>,
        /// The number of tasks that it may work on at once.
        pub wip_limit: u32,
    }

    /// Everything about a role, and where each of its values comes from.
    pub struct RoleDetail = "oodatcaa/role_detail.v1" {
        /// The role.
        pub entry: RoleEntry,
        /// Its work is what tasks are about.
        pub builds: bool,
        /// It merges, by our own code.
        pub merges: bool,
        /// The types of tasks that begin with it.
        pub begins: Vec<String>,
        /// The gates that decide about its work.
        pub gates: Vec<RoleGateView>,
        /// The file of its prompt.
        pub prompt: String,
        /// `project`, `ships` (there is no such file, ours is used), `missing`, or `none` of a role without an agent.
        pub prompt_source: &'static str,
        /// `auto`, `landlock` or `off`: how its agent is confined.
        pub sandbox: &'static str,
        /// The things that its agent must not be able to do.
        pub require: Vec<&'static str>,
        /// Its settings.
        pub settings: Vec<SettingView>,
    }

    /// A gate of a role.
    pub struct RoleGateView {
        /// Its name.
        pub name: String,
        /// The command that it runs; empty where it is not defined or not trusted.
        pub argv: Vec<String>,
    }

    /// A new role.
    pub struct RoleAddedView = "oodatcaa/role_added.v1" {
        /// Its name.
        pub role: Role,
        /// True if nothing was written.
        pub dry_run: bool,
        /// The files that were written.
        pub files: Vec<WrittenView>,
        /// The text that was added to the configuration.
        pub table: String,
        /// Notes that are worth knowing.
        pub notes: Vec<String>,
        /// The commands to run next.
        pub next: Vec<String>,
    }
}
