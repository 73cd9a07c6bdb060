//! `[workspace]` and `[merge]` from checked values.

use super::Values;
use crate::{MergeConfig, MergePolicy, WorkspaceConfig, WorkspaceMode};

pub(super) fn workspace(values: &Values<'_>) -> WorkspaceConfig {
    let at = |member| ["workspace", member];
    WorkspaceConfig {
        mode: match values.text(&at("mode")).as_deref() {
            Some("shared") => WorkspaceMode::Shared,
            _ => WorkspaceMode::Worktree,
        },
        root: values.text(&at("root")),
        branch: values.text(&at("branch")).unwrap_or_default(),
        base: values.text(&at("base")),
        // From where the result goes, as long as nobody has said where that is: from where clones come.
        fetch: (values.text(&at("fetch")).as_deref() == Some("on"))
            .then(|| values.text(&["merge", "push"]).unwrap_or_else(|| "origin".into())),
        author: values.text(&at("author")),
        copy: values.texts(&at("copy")),
        setup: values.texts(&at("setup")),
        teardown: values.texts(&at("teardown")),
        hook_timeout: values.duration(&at("hook_timeout")),
        hook_env: values.texts(&at("hook_env")),
        port_base: values.count(&at("port_base")),
        ports: values.count(&at("ports")),
        lock_wait: values.duration(&at("lock_wait")),
        disk_min: values.size(&at("disk_min")),
        keep: values.duration(&at("keep")),
        untrusted: false,
    }
}

pub(super) fn merge(values: &Values<'_>) -> MergeConfig {
    let at = |member| ["merge", member];
    MergeConfig {
        policy: match values.text(&at("policy")).as_deref() {
            Some("squash") => MergePolicy::Squash,
            Some("rebase") => MergePolicy::Rebase,
            _ => MergePolicy::MergeCommit,
        },
        push: values.text(&at("push")),
        changelog: values.flag(&at("changelog")),
        tags: values.flag(&at("tags")),
        after: values.texts(&at("after")),
    }
}
