//! Open files that we inherited.

/// Hides inherited descriptors from every program that we start: agents, gates, hooks and git get standard
/// input, output and error, and nothing else. For the beginning of a process; whatever we open ourselves is closed by
/// `exec` anyway.
pub fn keep_to_ourselves() {
    close_fds::set_fds_cloexec(3, &[]);
}
