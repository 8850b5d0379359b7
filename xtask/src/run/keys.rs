//! Keys that a person presses at the terminal, one at a time and without Enter.

use std::collections::VecDeque;
use std::io::{IsTerminal, Read, stdin};
use std::sync::{Arc, Mutex};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Listens as long as it lives; then the terminal is as it was.
pub struct Keys {
    pressed: Arc<Mutex<VecDeque<char>>>,
    before: Termios,
}

impl Keys {
    /// None where nobody sits at a terminal.
    pub fn listen() -> Option<Keys> {
        let terminal = stdin();
        if !terminal.is_terminal() {
            return None;
        }
        let before = tcgetattr(&terminal).ok()?;
        let mut each = before.clone();
        // A key comes at once and is not shown; Ctrl-C stays the signal that it is.
        each.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        (each.special_codes[SpecialCodeIndex::VMIN], each.special_codes[SpecialCodeIndex::VTIME]) = (1, 0);
        tcsetattr(&terminal, OptionalActions::Now, &each).ok()?;
        let pressed = Arc::new(Mutex::new(VecDeque::new()));
        let sink = Arc::downgrade(&pressed);
        // It waits for a key in a call that cannot be called off, and ends with the process.
        std::thread::spawn(move || {
            let mut key = [0];
            while stdin().read(&mut key).is_ok_and(|count| count == 1) {
                let Some(pressed) = sink.upgrade() else { return };
                pressed.lock().expect("nobody panics with it").push_back(char::from(key[0]));
            }
        });
        Some(Keys { pressed, before })
    }

    /// Whether one was pressed that nobody has taken.
    pub fn is_pressed(&self) -> bool {
        !self.pressed.lock().expect("nobody panics with it").is_empty()
    }

    /// The first one that was pressed and not taken.
    pub fn take(&self) -> Option<char> {
        self.pressed.lock().expect("nobody panics with it").pop_front()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // Without a terminal there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
