//! What all runs of one program call share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use blindfold_synth::{ImageSource, RealImages};

use crate::config::{DataTable, RunConfig, TeacherTable};
use crate::data::{DataError, DataHome, Split};
use crate::device::NamedDevice;
use crate::evaluate::Logits;
use crate::record::Console;
use crate::teachers::{self, Teacher};
use crate::{Project, Registry, Usage};

/// A test set, or why there is none and how to get it.
pub(crate) type TestSet = Result<Arc<RealImages>, String>;

/// What all runs of one program call share: plugins, folders, device, and what was loaded or measured already.
pub struct Context {
    /// The plugins.
    pub registry: Registry,
    /// The folders.
    pub project: Project,
    /// Where data lies.
    pub home: DataHome,
    /// Where tensors live.
    pub device: NamedDevice,
    /// Where progress is shown.
    pub console: Console,
    teachers: Mutex<HashMap<String, Teacher>>,
    test_sets: Mutex<HashMap<String, TestSet>>,
    real_images: Mutex<HashMap<String, Arc<RealImages>>>,
    logits: Mutex<HashMap<String, Arc<Logits>>>,
}

impl Context {
    /// A context in which nothing is loaded yet.
    pub fn new(registry: Registry, project: Project, home: DataHome, device: NamedDevice, console: Console) -> Self {
        Self {
            registry,
            project,
            home,
            device,
            console,
            teachers: Mutex::default(),
            test_sets: Mutex::default(),
            real_images: Mutex::default(),
            logits: Mutex::default(),
        }
    }

    pub(crate) fn teacher(&self, table: &TeacherTable) -> Result<Teacher> {
        let key = format!("{table:?}");
        if let Some(teacher) = lock(&self.teachers).get(&key) {
            return Ok(teacher.clone());
        }
        let teacher = teachers::load(table, &self.registry, &self.project, &self.home, &self.device.device)?;
        lock(&self.teachers).insert(key, teacher.clone());
        Ok(teacher)
    }

    /// The test set; one that is not at hand is not an error here, since quantizing needs no data.
    pub(crate) fn test_set(&self, table: &DataTable) -> Result<TestSet> {
        let key = format!("{} {:?}", table.name, table.table);
        if let Some(set) = lock(&self.test_sets).get(&key) {
            return Ok(set.clone());
        }
        let data =
            self.registry.data_sets.build(&table.name, table.table.clone()).map_err(|error| error.within("data"))?;
        let set: TestSet = match data.load(Split::Test, &self.home) {
            Ok(images) => Ok(Arc::new(images)),
            Err(error @ DataError::Missing { .. }) => Err(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        lock(&self.test_sets).insert(key, set.clone());
        Ok(set)
    }

    /// The real images of a control, from the data set of [`data_of`].
    pub(crate) fn real_images(&self, table: &DataTable) -> Result<Arc<RealImages>, DataError> {
        let key = format!("{} {:?}", table.name, table.table);
        if let Some(images) = lock(&self.real_images).get(&key) {
            return Ok(images.clone());
        }
        let data =
            self.registry.data_sets.build(&table.name, table.table.clone()).map_err(|error| error.within("data"))?;
        let images = Arc::new(data.load(Split::Subset, &self.home)?);
        lock(&self.real_images).insert(key, images.clone());
        Ok(images)
    }

    /// Whether a method's images are real ones that are not at hand: what is missing, and how to get it.
    ///
    /// # Errors
    /// Faults of the configuration and of files that are there.
    pub fn lacks_real_images(&self, config: &RunConfig) -> Result<Option<String>> {
        let source = self
            .registry
            .source(&config.images.source, config.images.table.clone())
            .map_err(|error| error.within("images"))?;
        if !source.needs_real() {
            return Ok(None);
        }
        match self.real_images(&data_of(source.as_ref(), &config.data)?) {
            Ok(_) => Ok(None),
            Err(error @ DataError::Missing { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Logits that are the same for all runs (the teacher's), computed once.
    pub(crate) fn remembered(&self, key: String, compute: impl FnOnce() -> Logits) -> Arc<Logits> {
        if let Some(logits) = lock(&self.logits).get(&key) {
            return logits.clone();
        }
        let logits = Arc::new(compute());
        lock(&self.logits).insert(key, logits.clone());
        logits
    }
}

/// The data set that a control takes its images from: the one that it names, or else the experiment's.
///
/// # Errors
/// [`Usage`] where it names the experiment's own.
pub(super) fn data_of(source: &dyn ImageSource, own: &DataTable) -> Result<DataTable, Usage> {
    match source.data() {
        None => Ok(own.clone()),
        Some(choice) if choice.name == own.name && choice.options == own.table => Err(Usage(format!(
            "`images.data.name`: `{}` is the experiment's own data set: name another one, or take the source `real`",
            choice.name
        ))),
        Some(choice) => Ok(DataTable { name: choice.name.clone(), limit: None, table: choice.options.clone() }),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
