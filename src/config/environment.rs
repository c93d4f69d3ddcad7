//! What of the environment decides how `git` is run; flags and `AIRLOCK_*` come through the
//! command line.

use std::ffi::OsString;

/// What an admin told `git` by the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitEnvironment {
    /// Whether there is a `GIT_SSH_COMMAND` or `GIT_SSH`: then that is how ssh is run.
    pub chooses_ssh: bool,
    /// The pairs that `GIT_CONFIG_KEY_<n>` and `GIT_CONFIG_VALUE_<n>` set: ours come after them.
    pub configured: usize,
}

impl GitEnvironment {
    /// Reads it.
    pub fn read() -> Self {
        let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let number = set("GIT_CONFIG_COUNT").and_then(|count| count.to_str()?.parse().ok());
        Self {
            chooses_ssh: set("GIT_SSH_COMMAND").or_else(|| set("GIT_SSH")).is_some(),
            configured: number.unwrap_or_default(),
        }
    }
}
