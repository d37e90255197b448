//! Where the files of the private cluster go. Owns the paths and their making; never changes the owner or the
//! mode of a directory that it did not make.
//!
//! ```text
//! <DATA_DIR>/postgres/   0700, owned by the account that runs PostgreSQL; all below is in it
//!   data/                the cluster        init.tmp/   a cluster that initdb has not finished
//!   manager.lock         held by the one process that manages the cluster
//!   postgres.log         the server's log   initdb.log  the last initdb's output
//!   socket/              the unix socket, unless its path would be too long for the kernel
//! ```

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{account::Account, error::PostgresError};

/// The port is only a part of the socket's file name: the cluster never listens on the network.
pub(super) const SOCKET_PORT: u16 = 5432;
/// `sun_path` holds 108 bytes on Linux and 104 on macOS and the BSDs, the closing NUL included.
const SOCKET_PATH_BYTES_MAX: usize = 103;
const SOCKET_FILE: &str = "/.s.PGSQL.5432";
/// How much of a log is shown in an error.
const LOG_TAIL_LINES: usize = 15;
const LOG_TAIL_BYTES: u64 = 4096;

/// The paths of one private cluster.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    pub(super) socket_dir: PathBuf,
}

impl Layout {
    /// Makes `<data_dir>/postgres` if it is missing, and checks that `account` can use it.
    pub(super) fn prepare(data_dir: &Path, account: Account) -> Result<Self, PostgresError> {
        let data_dir = std::path::absolute(data_dir)
            .map_err(|e| PostgresError::file("resolve", data_dir, e))?;
        create_parents(&data_dir, if account.drops_root { 0o755 } else { 0o700 })?;
        // Two spellings of one directory must meet at one socket.
        let data_dir = fs::canonicalize(&data_dir)
            .map_err(|e| PostgresError::file("resolve", &data_dir, e))?;
        let root = data_dir.join("postgres");
        create_private(&root, account)?;
        check_private(&root, account)?;
        if account.drops_root {
            check_traversable(&root, account)?;
        }
        Ok(Self {
            socket_dir: socket_dir(&root, account.drops_root),
            root,
        })
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn unfinished_cluster(&self) -> PathBuf {
        self.root.join("init.tmp")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("manager.lock")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    pub(super) fn init_log(&self) -> PathBuf {
        self.root.join("initdb.log")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket_dir.join(&SOCKET_FILE[1..])
    }

    /// The major version of the cluster, if there is one.
    pub(super) fn cluster_major(&self) -> Result<Option<u32>, PostgresError> {
        let path = self.cluster().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| PostgresError::DataDir {
                    path,
                    problem: "it does not hold a major version".to_owned(),
                }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(PostgresError::file("read", &path, e)),
        }
    }

    /// Makes the socket's directory, which may be in a place where others can write: it must be ours alone.
    pub(super) fn create_socket_dir(&self, account: Account) -> Result<(), PostgresError> {
        create_private(&self.socket_dir, account)?;
        self.check_socket_dir(account)
    }

    /// Is the socket's directory owned by the right account and closed to others? A server behind somebody else's
    /// socket must not be trusted.
    pub(super) fn check_socket_dir(&self, account: Account) -> Result<(), PostgresError> {
        check_private(&self.socket_dir, account)
    }
}

/// The default place of the data: `/var/lib/credit-ledger` for root, which no account needs root's home for;
/// else by the XDG base directory specification.
pub(super) fn default_data_dir() -> Result<PathBuf, PostgresError> {
    default_data_dir_of(
        rustix::process::geteuid().is_root(),
        std::env::var_os("XDG_DATA_HOME"),
        std::env::var_os("HOME"),
    )
    .ok_or(PostgresError::NoDataDir)
}

fn default_data_dir_of(
    is_root: bool,
    xdg_data_home: Option<OsString>,
    home: Option<OsString>,
) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/credit-ledger"));
    }
    let absolute =
        |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(xdg_data_home)
        .or_else(|| absolute(home).map(|home| home.join(".local/share")))
        .map(|base| base.join("credit-ledger"))
}

/// Beside the data, or in a short directory named by a digest of the path. Every process that opens the same data
/// must find the same socket, so nothing that differs between sessions (`XDG_RUNTIME_DIR`) may play a part.
fn socket_dir(root: &Path, is_root: bool) -> PathBuf {
    let beside = root.join("socket");
    if beside.as_os_str().len() + SOCKET_FILE.len() <= SOCKET_PATH_BYTES_MAX {
        return beside;
    }
    let digest = hex::encode(Sha256::digest(root.as_os_str().as_bytes()));
    let base = if is_root && cfg!(target_os = "linux") {
        "/run"
    } else {
        "/tmp"
    };
    Path::new(base).join(format!("credit-ledger-{}", &digest[..16]))
}

/// Makes `path` and what is missing above it. Only what we make gets `mode`.
fn create_parents(path: &Path, mode: u32) -> Result<(), PostgresError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_parents(parent, mode)?;
    }
    match fs::create_dir(path) {
        // The mode is set by itself: the umask must not make a parent of the data impassable.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| PostgresError::file("set the mode of", path, e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(PostgresError::file("create", path, e)),
    }
}

/// Makes a directory of 0700 that belongs to the account. It appears under its name only when it is complete, so
/// two starters can not see each other's half-made one.
fn create_private(path: &Path, account: Account) -> Result<(), PostgresError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".new-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let unfinished = path.with_file_name(name);
    let made = fs::DirBuilder::new()
        .mode(0o700)
        .create(&unfinished)
        .and_then(|()| {
            if account.drops_root {
                chown(&unfinished, Some(account.uid), Some(account.gid))
            } else {
                Ok(())
            }
        })
        .and_then(|()| fs::rename(&unfinished, path));
    match made {
        Ok(()) => Ok(()),
        Err(e) => {
            // Best effort: the error that matters is the one we return.
            let _ = fs::remove_dir(&unfinished);
            if path.is_dir() {
                Ok(())
            } else {
                Err(PostgresError::file("create", path, e))
            }
        }
    }
}

fn check_private(path: &Path, account: Account) -> Result<(), PostgresError> {
    let found = path
        .symlink_metadata()
        .map_err(|e| PostgresError::file("look at", path, e))?;
    let problem = if !found.is_dir() {
        "it is not a directory".to_owned()
    } else if found.uid() != account.uid {
        format!(
            "it belongs to user id {}, but PostgreSQL would run as user id {}",
            found.uid(),
            account.uid
        )
    } else if found.mode() & 0o077 != 0 {
        format!(
            "others can reach it (mode {:o}); it must be 0700",
            found.mode() & 0o777
        )
    } else {
        return Ok(());
    };
    Err(PostgresError::DataDir {
        path: path.to_owned(),
        problem,
    })
}

/// As root we can go anywhere; the account we drop to can not. Says which parent is in the way.
fn check_traversable(root: &Path, account: Account) -> Result<(), PostgresError> {
    for parent in root.ancestors().skip(1) {
        let found = parent
            .metadata()
            .map_err(|e| PostgresError::file("look at", parent, e))?;
        if !can_search(&found, account) {
            return Err(PostgresError::DataDir {
                path: parent.to_owned(),
                problem: format!(
                    "user id {}, which runs PostgreSQL because we are root, can not pass through it (mode {:o}); \
                     choose another DATA_DIR or allow others to pass (chmod o+x)",
                    account.uid,
                    found.mode() & 0o777
                ),
            });
        }
    }
    Ok(())
}

fn can_search(found: &fs::Metadata, account: Account) -> bool {
    let bit = if found.uid() == account.uid {
        0o100
    } else if found.gid() == account.gid {
        0o010
    } else {
        0o001
    };
    found.mode() & bit != 0
}

/// The last lines of a log, for an error message; empty when there is none.
pub(super) fn log_tail(path: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{SOCKET_FILE, SOCKET_PATH_BYTES_MAX, default_data_dir_of, log_tail, socket_dir};

    #[test]
    fn the_default_place_follows_the_user() {
        let xdg = || Some("/data".into());
        let home = || Some("/home/a".into());
        assert_eq!(
            default_data_dir_of(true, xdg(), home()),
            Some(PathBuf::from("/var/lib/credit-ledger"))
        );
        assert_eq!(
            default_data_dir_of(false, xdg(), home()),
            Some(PathBuf::from("/data/credit-ledger"))
        );
        let in_home = Some(PathBuf::from("/home/a/.local/share/credit-ledger"));
        assert_eq!(default_data_dir_of(false, None, home()), in_home);
        assert_eq!(
            default_data_dir_of(false, Some("relative".into()), home()),
            in_home
        );
        assert_eq!(default_data_dir_of(false, Some("".into()), None), None);
    }

    #[test]
    fn a_long_path_gets_a_short_socket_of_its_own() {
        assert_eq!(
            socket_dir(Path::new("/data/postgres"), false),
            Path::new("/data/postgres/socket")
        );
        let long =
            |end: &str| PathBuf::from(format!("/{}/{end}", "x".repeat(SOCKET_PATH_BYTES_MAX)));
        let (one, other) = (socket_dir(&long("a"), false), socket_dir(&long("b"), false));
        assert!(
            one.as_os_str().len() + SOCKET_FILE.len() <= SOCKET_PATH_BYTES_MAX,
            "{one:?}"
        );
        assert_ne!(one, other);
        assert_eq!(one, socket_dir(&long("a"), false));
    }

    #[test]
    fn the_longest_path_that_fits_stays_beside_the_data() {
        let fits = SOCKET_PATH_BYTES_MAX - SOCKET_FILE.len() - "/socket".len();
        let root = PathBuf::from(format!("/{}", "x".repeat(fits - 1)));
        assert_eq!(socket_dir(&root, false), root.join("socket"));
        let root = PathBuf::from(format!("/{}", "x".repeat(fits)));
        assert!(socket_dir(&root, false).starts_with("/tmp"));
    }

    #[test]
    fn the_tail_is_the_end_and_a_missing_log_is_empty() {
        let path = std::env::temp_dir().join(format!("credit-ledger-tail-{}", std::process::id()));
        let text: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        let tail = log_tail(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(tail.ends_with("line 999"), "{tail}");
        assert!(tail.lines().count() <= 15, "{tail}");
        assert_eq!(log_tail(&path), "");
    }
}
