//! Memory to work in, one piece a thread, so that changing an image takes none.

use std::cell::RefCell;

thread_local! {
    static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls with room for so many numbers; what stands in it is left over. Within such a call, another one takes memory of
/// its own.
pub(super) fn with_room<T>(length: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut room = ROOM.take();
    if room.len() < length {
        room.resize(length, 0.0);
    }
    let result = work(&mut room[..length]);
    ROOM.set(room);
    result
}

/// Changes a plane with a copy of what it was at hand.
pub(super) fn with_copy(plane: &mut [f32], change: impl FnOnce(&mut [f32], &[f32])) {
    with_room(plane.len(), |before| {
        before.copy_from_slice(plane);
        change(plane, before);
    });
}
