//! How the process holds memory.
//!
//! Owns what the system is told about it. Must never know what is kept in it.

/// Keeps this process, and what it starts from now on, from transparent huge pages. Called first in `main`: what was
/// touched before stays as it is.
///
/// The allocator asks for them, and some systems give them to everybody. A page of 2 MiB that holds one buffer is resident
/// as a whole, which doubled what the service held, and is no faster: what a batch touches is small. PostgreSQL's
/// manual advises against them, too. Linux only (prctl(2), `PR_SET_THP_DISABLE`); where it is refused all works the same
/// in more memory.
pub fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_huge_pages_once_it_is_said() {
        without_huge_pages();
        assert_eq!(
            rustix::thread::transparent_huge_pages_are_disabled(),
            Ok(true)
        );
    }
}
