//! What `--json` prints: one type for each object, whose name stands in its member `schema`.
//!
//! The members of these types are an interface: a new one may come, none goes and none changes its meaning. With the
//! feature `schema` each can tell its JSON Schema; `schema/cli.schema.json` is made from them.

/// Defines the types: each can be printed, and tell its JSON Schema. One that is printed by itself has a name of its
/// own, which stands in its member `schema`; the others are parts of such.
macro_rules! views {
    ($($(#[$about:meta])* pub struct $view:ident $(= $name:tt)? { $($members:tt)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, serde::Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $(#[serde(tag = "schema", rename = $name)])?
        pub struct $view { $($members)* }
    )*};
}

mod agent;
mod change;
mod config;
mod doctor;
mod fleet;
mod inbox;
mod lease;
mod message;
mod moment;
mod pool;
mod program;
mod queue;
mod report;
mod role;
mod run;
mod sandbox;
mod schedule;
mod sprint;
mod stats;
mod status;
mod task;
mod worktree;

pub use agent::{AdapterView, AgentView, CaseView};
pub use change::{ChangeView, ReopenView};
pub use config::{ChosenView, CommandView, ConfigView, OriginView, SettingView, TrustView};
pub use doctor::{CheckView, DoctorView};
pub use fleet::{FleetView, PauseView, UnitsView, WorkerResult, WorkerView};
pub use inbox::{DecisionView, NeedView, Question};
pub use lease::{LeaseEntry, LeaseView, LockView};
pub use message::MessageView;
pub use moment::Moment;
pub use pool::{PoolState, PoolView};
pub use program::{CompletionsView, ErrorBody, ErrorView, HelpView, InitView, ManView, VersionView, WrittenView};
pub use queue::{MendView, ProblemView, RepairView, ValidationView};
pub use report::{BudgetView, EndedView, LandedView, NextView, OddKind, OddView, ReportView, SpentView, TroubledView};
pub use role::{RoleAddedView, RoleDetail, RoleEntry, RoleGateView};
pub use run::{AttemptDetail, AttemptView, FileView, GateView, LogView, StopView};
pub use sandbox::{AppArmorView, ProbeView, SandboxRunView, SandboxView, TryView, VerdictView};
pub use schedule::{HandoffView, ScheduleView};
pub use sprint::{
    CriterionView, ProgressView, RenderedView, ReportedView, RotationView, SprintPlanView, SprintReportView,
    SprintTaskView, SprintTurnView, SprintView, SprintWipView, StepView,
};
pub use stats::{BottleneckView, ClassView, GroupView, SlowView, SpreadView, StatsView};
pub use status::{LastEventView, ProcessView, RoleView, StartsView, StatusView};
pub use task::{FactView, FailureView, TaskDetail, TaskView, WhyView};
pub use worktree::{
    ChangedFileView, DiffView, GcView, OldRefView, OldRunView, WorktreePathView, WorktreeRemovalView, WorktreeView,
};

#[cfg(feature = "schema")]
macro_rules! all_of {
    ($generator:ident: $($view:ty),*) => { [$($generator.subschema_for::<$view>()),*] };
}

/// Returns one JSON Schema for everything that `--json` prints.
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let all = all_of!(generator:
        AdapterView, AgentView, AppArmorView, AttemptDetail, AttemptView, CaseView, ChangeView, CompletionsView,
        ConfigView, DecisionView, DiffView, DoctorView, ErrorView, FleetView, GcView, HandoffView, HelpView,
        InitView, LeaseEntry, LockView, LogView<'_>, ManView, MessageView, NeedView, PauseView, ProbeView, RenderedView, RepairView,
        ReopenView, ReportView, RoleAddedView, RoleDetail, RoleEntry, RotationView, SandboxRunView, SandboxView,
        ScheduleView, SprintPlanView, SprintReportView, SprintTurnView, SprintView, StatsView, StatusView,
        StopView, TaskDetail, TaskView, TrustView, UnitsView, ValidationView, VerdictView, VersionView, WhyView,
        WorktreePathView, WorktreeRemovalView, WorktreeView
    );
    let mut definitions = generator.take_definitions(true);
    for (key, definition) in &mut definitions {
        // What serde writes as the tag of a struct, schemars leaves out.
        let name = match key.as_str() {
            "AttemptDetail" => "oodatcaa/run.v1",
            "TaskDetail" => "oodatcaa/task.v1",
            name if name.starts_with("oodatcaa/") => name,
            _ => continue,
        };
        definition["properties"]["schema"] = serde_json::json!({ "const": name });
        let mut required = vec!["schema".into()];
        required.extend(definition["required"].as_array().into_iter().flatten().cloned());
        definition["required"] = required.into();
    }
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What agentctl --json prints: each object by its member `schema`",
        "anyOf": all.to_vec(),
        "$defs": definitions,
    })
}
