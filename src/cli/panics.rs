//! What is said of a panic: where, and what only if it is a text of the program. What was put together at run time may
//! hold what was sent: a text that is cut in the middle of a letter is shown whole, and so is the error of an `unwrap`.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// From now on panics are told so, in every thread. `RUST_BACKTRACE` adds how it came to that.
pub fn tell_without_data() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic
        .location()
        .map_or_else(String::new, |place| format!(" at {place}"));
    eprintln!("thread {name} panicked{place}: {}", said(panic.payload()));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        eprintln!("{backtrace}");
    }
}

fn said(payload: &(dyn Any + Send)) -> &'static str {
    let fixed = payload.downcast_ref::<&'static str>();
    fixed
        .copied()
        .unwrap_or("what it says may hold data, and is not shown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_of_the_program_is_said() {
        let said_of = |panics: fn()| said(&*std::panic::catch_unwind(panics).unwrap_err());
        assert_eq!(
            said_of(|| panic!("a text of the program")),
            "a text of the program"
        );
        let hidden = "what it says may hold data, and is not shown";
        let cut: fn() = || {
            let text = std::hint::black_box("hünter2");
            std::hint::black_box(&text[..2]);
        };
        let unwrapped: fn() = || {
            let failed: Result<(), &str> = std::hint::black_box(Err("hunter2"));
            failed.unwrap();
        };
        for panics in [cut, unwrapped, || {
            panic!("{}", std::hint::black_box("hunter2"))
        }] {
            assert_eq!(said_of(panics), hidden);
        }
    }
}
