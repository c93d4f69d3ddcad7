//! tokio's `watch`, as shuttle has it, with more points at which another task may come first.
//!
//! There the counter of versions is not one, so a receiver that subscribes too late would never be
//! found; here every call begins at such a point, and a call that sends ends at one.

use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle_tokio::sync::watch;
pub(crate) use shuttle_tokio::sync::watch::Ref;
use shuttle_tokio::sync::watch::error::RecvError;

/// Here another task may be scheduled. Unlike a yield it does not wake this one.
fn point() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

#[derive(Debug)]
pub(crate) struct Sender<T>(watch::Sender<T>);

#[derive(Debug)]
pub(crate) struct Receiver<T>(watch::Receiver<T>);

pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = watch::channel(value);
    (Sender(sender), Receiver(receiver))
}

impl<T> Sender<T> {
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        point();
        Receiver(self.0.subscribe())
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        point();
        self.0.borrow()
    }

    pub(crate) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        point();
        self.0.send_modify(modify);
        point();
    }

    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        point();
        let modified = self.0.send_if_modified(modify);
        point();
        modified
    }
}

impl<T> Receiver<T> {
    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        point();
        self.0.borrow()
    }

    pub(crate) fn borrow_and_update(&mut self) -> Ref<'_, T> {
        point();
        self.0.borrow_and_update()
    }

    pub(crate) async fn changed(&mut self) -> Result<(), RecvError> {
        point();
        self.0.changed().await
    }

    pub(crate) async fn wait_for(&mut self, until: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        point();
        self.0.wait_for(until).await
    }
}
