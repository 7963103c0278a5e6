//! The first operation on a device.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Tensor};

/// One at a time: what panics say is caught for the whole process.
static PROBES: Mutex<()> = Mutex::new(());

/// Does a small sum on `device` and reads it back.
///
/// # Errors
/// What the runtime says.
pub fn probe(device: &Device) -> Result<(), String> {
    caught(|| sum(device))
}

/// What `operation` returns, or the first thing that was said by a panic meanwhile, on whatever thread.
///
/// burn's runtimes panic where a library is missing at the first operation, on a thread of their own. What is printed then
/// would come before the error that explains it and say less to most people; so it is caught and becomes the reason.
fn caught(operation: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let one_at_a_time = lock(&PROBES);
    let said = Arc::new(Mutex::new(Vec::new()));
    let usual = panic::take_hook();
    panic::set_hook(Box::new({
        let said = Arc::clone(&said);
        move |panic| lock(&said).push(message(panic))
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(operation));
    panic::set_hook(usual);
    drop(one_at_a_time);
    // The first panic is the cause of others.
    let first = lock(&said).drain(..).next();
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(first.unwrap_or(reason)),
        Err(_) => Err(first.unwrap_or("it panicked".to_owned())),
    }
}

fn sum(device: &Device) -> Result<(), String> {
    const VALUES: [f32; 4] = [1.0, 2.0, 3.0, 4.0];
    let sum = Tensor::<1>::from_floats(VALUES, device).mul_scalar(2.0).sum();
    let found: f32 = sum.try_into_scalar().map_err(|error| error.to_string())?;
    let expected = 2.0 * VALUES.iter().sum::<f32>();
    if found == expected { Ok(()) } else { Err(format!("twice the sum of {VALUES:?} is {found} there")) }
}

/// In one line.
fn message(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("a panic without a message");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_passes() {
        assert_eq!(probe(&Device::flex()), Ok(()));
    }

    #[test]
    fn what_a_panic_says_is_the_reason() {
        assert_eq!(caught(|| panic!("no\n  library")), Err("no library".to_owned()));
        assert_eq!(caught(|| Err("poisoned".to_owned())), Err("poisoned".to_owned()));
        let on_another_thread = || {
            let ended = std::thread::spawn(|| panic!("no compiler")).join();
            ended.map_err(|_| "the device's thread is gone".to_owned())
        };
        assert_eq!(caught(on_another_thread), Err("no compiler".to_owned()));
        // A panic that an operation gets over is none.
        let gets_over_it = || std::thread::spawn(|| panic!("one way")).join().or(Ok(()));
        assert_eq!(caught(gets_over_it), Ok(()));
    }
}
