//! The wish that a run in another process should end: a file in its folder, which whoever trains looks for now and
//! then.

use dropforge::run::STOP;
use dropforge::train::{Callback, Control};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Asks for an end.
pub fn ask(run: &Path) -> io::Result<()> {
    std::fs::write(run.join(STOP), "")
}

/// Ends training when somebody asks for it.
pub struct Watch {
    file: PathBuf,
    /// Set as if the user had asked for it here.
    asked: Arc<AtomicBool>,
    looked: Instant,
}

impl Watch {
    /// Of the run in this folder; wishes of before are forgotten.
    pub fn new(run: &Path, asked: &Arc<AtomicBool>) -> Watch {
        let file = run.join(STOP);
        let _ = std::fs::remove_file(&file);
        Watch { file, asked: asked.clone(), looked: Instant::now() }
    }
}

impl Callback for Watch {
    fn name(&self) -> String {
        "stop".into()
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> dropforge::Result<()> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if self.file.exists() {
                let _ = std::fs::remove_file(&self.file);
                self.asked.store(true, Ordering::Relaxed);
                control.stop("somebody asked for it in the dashboard");
            }
        }
        Ok(())
    }
}
