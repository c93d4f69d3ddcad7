//! A git server over ssh: the real `sshd`, one for each connection, with keys of its own, that lets one key
//! in and that only to `git-shell`.

use crate::support::skip;
use fs_err as fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Listens on a port that the system picks; its folder has the keys and configurations of both ends.
pub(crate) struct Sshd {
    folder: TempDir,
    address: SocketAddr,
    user: String,
    _serving: AbortOnDropHandle<()>,
}

impl Sshd {
    /// `None` where there is no `sshd` that could serve, which is noted as skipped.
    pub(crate) async fn start(what: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let Some(program) = program() else {
            skip(&format!("sshd: {what}"));
            return None;
        };
        for key in ["host", "other-host", "user", "other-user"] {
            key_pair(&at(key));
        }
        let options = [
            format!("HostKey {}", at("host").display()),
            format!("AuthorizedKeysFile {}", at("authorized_keys").display()),
            // Folders for temporary files may be anybody's.
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            "PidFile none".to_owned(),
            // Without it git falls back to its old protocol.
            "AcceptEnv GIT_PROTOCOL".to_owned(),
        ];
        fs::write(at("sshd_config"), options.join("\n") + "\n").unwrap();
        let tested = Command::new(&program).arg("-t").arg("-f").arg(at("sshd_config")).output().unwrap();
        if !tested.status.success() {
            // As root it wants a folder that only its service makes.
            skip(&format!("sshd: {what}: {}", String::from_utf8_lossy(&tested.stderr).trim()));
            return None;
        }
        let user = Command::new("id").arg("-un").output().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, config) = (listener.local_addr().unwrap(), at("sshd_config"));
        let log = at("sshd.log");
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                let output = OwnedFd::from(stream.try_clone().unwrap());
                let log = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
                let mut sshd = tokio::process::Command::new(&program);
                sshd.args(["-i", "-e", "-f"]).arg(&config).stdin(OwnedFd::from(stream)).stdout(output);
                let mut sshd = sshd.stderr(Stdio::from(log.into_parts().0)).spawn().unwrap();
                tokio::spawn(async move { sshd.wait().await });
            }
        });
        let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
        let sshd = Self { folder, address, user, _serving: AbortOnDropHandle::new(serving) };
        sshd.authorize("user", r#"git-shell -c \"$SSH_ORIGINAL_COMMAND\""#);
        sshd.know("host");
        let client = [
            format!("UserKnownHostsFile {}", sshd.path("known_hosts").display()),
            "GlobalKnownHostsFile /dev/null".to_owned(),
            format!("IdentityFile {}", sshd.path("user").display()),
            "IdentitiesOnly yes".to_owned(),
        ];
        fs::write(sshd.path("ssh_config"), client.join("\n") + "\n").unwrap();
        Some(sshd)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets one key in, and that to nothing but this command.
    pub(crate) fn authorize(&self, key: &str, command: &str) {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        let nobodys = "GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null";
        fs::write(self.path("authorized_keys"), format!("restrict,command=\"{nobodys} {command}\" {public}")).unwrap();
    }

    /// The client knows this host key and no other.
    pub(crate) fn know(&self, key: &str) {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        let line = format!("[{}]:{} {public}", self.address.ip(), self.address.port());
        fs::write(self.path("known_hosts"), line).unwrap();
    }

    /// The client knows no host key.
    pub(crate) fn know_none(&self) {
        fs::write(self.path("known_hosts"), "").unwrap();
    }

    /// Of a folder of this machine, without a trailing slash.
    pub(crate) fn url(&self, folder: &Path) -> String {
        format!("ssh://{}@{}{}", self.user, self.address, folder.display())
    }

    /// How the client is run with its configuration here.
    pub(crate) fn command(&self) -> String {
        format!("ssh -F {}", self.path("ssh_config").display())
    }

    /// A folder for the front of the `PATH` in which `ssh` finds its configuration here, as it does in a
    /// home; of which home that is, no variable tells it.
    pub(crate) fn bin(&self) -> PathBuf {
        let bin = self.path("bin");
        fs::create_dir_all(&bin).unwrap();
        let real = find("ssh").unwrap();
        let config = self.path("ssh_config");
        let script = format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", real.display(), config.display());
        fs::write(bin.join("ssh"), script).unwrap();
        fs::set_permissions(bin.join("ssh"), PermissionsExt::from_mode(0o755)).unwrap();
        bin
    }
}

/// It wants to be called by its full path.
fn program() -> Option<PathBuf> {
    if find("ssh").is_none() || find("ssh-keygen").is_none() {
        return None;
    }
    let usual = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].map(PathBuf::from);
    find("sshd").into_iter().chain(usual).find(|path| path.is_file())
}

fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn key_pair(path: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "a test", "-f"]).arg(path);
    assert!(keygen.stdin(Stdio::null()).status().unwrap().success());
}
