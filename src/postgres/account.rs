//! Who runs PostgreSQL, which refuses to run as root. Owns the choice of the account and of file owners.

use std::{fs, os::unix::process::CommandExt as _, path::Path, process::Command};

/// Accounts to drop to when we are root, best first.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];
/// `nobody` on Linux, where `/etc/passwd` is missing or does not say.
const OVERFLOW_ID: u32 = 65_534;

/// The user and group that own the cluster's files and run its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// We are root and must become this account for every program of PostgreSQL.
    pub(super) drops_root: bool,
}

impl Account {
    /// Ourselves, or as root the `postgres` account, else `nobody`.
    pub(super) fn choose() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            return Self {
                uid: uid.as_raw(),
                gid: gid.as_raw(),
                drops_root: false,
            };
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = find_account(&passwd).unwrap_or((OVERFLOW_ID, OVERFLOW_ID));
        Self {
            uid,
            gid,
            drops_root: true,
        }
    }

    /// A program of PostgreSQL, run as this account, with nothing of our environment (which holds secrets).
    pub(super) fn command(self, bin_dir: &Path, program: &str) -> Command {
        let mut command = Command::new(bin_dir.join(program));
        command
            .current_dir("/")
            .env_clear()
            .env("PATH", bin_dir)
            .env("LC_ALL", LOCALE)
            .env("TZ", "UTC")
            .stdin(std::process::Stdio::null());
        if self.drops_root {
            // As root, std also drops the supplementary groups.
            command.gid(self.gid).uid(self.uid);
        }
        command
    }
}

/// The locale of the cluster: bytewise order, Unicode letters. macOS has no `C.UTF-8`.
pub(super) const LOCALE: &str = if cfg!(target_os = "linux") {
    "C.UTF-8"
} else {
    "C"
};

/// The (uid, gid) of the best account in the text of `/etc/passwd`; never root.
fn find_account(passwd: &str) -> Option<(u32, u32)> {
    ACCOUNTS.iter().find_map(|wanted| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(wanted) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (uid != 0).then_some((uid, gid))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::find_account;

    #[test]
    fn postgres_is_better_than_nobody_and_root_is_never_taken() {
        let nobody = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n";
        assert_eq!(find_account(nobody), Some((65_534, 65_534)));
        let both = format!("{nobody}postgres:x:101:104::/var/lib/postgresql:/bin/bash\n");
        assert_eq!(find_account(&both), Some((101, 104)));
        let odd = "postgres:x:0:0::/:/bin/sh\npostgres\nnobody:x:many:1::/:/bin/sh\n";
        assert_eq!(find_account(odd), None);
    }
}
