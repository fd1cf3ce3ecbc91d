//! Slots of the flight record: each has one firing, from when it leaves until its end is stored.

/// Which slots are free. One that is never freed costs its 32 bytes; one that is freed too early could cost a firing.
#[derive(Debug, Default)]
pub(super) struct Slots {
    free: Vec<usize>,
    next: usize,
}

impl Slots {
    /// A free slot, taken. Those used last come first: the record stays small.
    pub(super) fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Its firing is in doubt no more.
    pub(super) fn free(&mut self, slot: usize) {
        self.free.push(slot);
    }
}
