//! What the system says of this process, under the names that all exporters use.

use fs_err as fs;
use rustix::time::{ClockId, clock_gettime};

/// What is known of the process; nothing where there is no `/proc`.
#[derive(Debug, Default)]
pub(in crate::server) struct Process {
    /// Seconds of processor time.
    pub(in crate::server) cpu_seconds: f64,
    /// Bytes of memory in use, the most that ever were, and bytes of address space.
    pub(in crate::server) resident: Option<u64>,
    pub(in crate::server) most_resident: Option<u64>,
    pub(in crate::server) virtual_size: Option<u64>,
    /// Files and connections that are open.
    pub(in crate::server) open_files: Option<u64>,
}

impl Process {
    /// Asks. Blocks, though not for a disk.
    pub(in crate::server) fn read() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |key: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            Some(rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
        };
        let seconds = u64::try_from(cpu.tv_sec).unwrap_or_default();
        let rest = u32::try_from(cpu.tv_nsec).unwrap_or_default();
        Self {
            cpu_seconds: std::time::Duration::new(seconds, rest).as_secs_f64(),
            resident: bytes("VmRSS"),
            most_resident: bytes("VmHWM"),
            virtual_size: bytes("VmSize"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
        }
    }
}
