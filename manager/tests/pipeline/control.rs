//! The control service as a program uses it.

use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use image_manager_proto::v1::{
    Build, GetBuildRequest, ListImagesRequest, ListImagesResponse, ListSchedulesRequest,
    ListSchedulesResponse, PauseScheduleRequest, ResumeScheduleRequest, Schedule, TriggerBuildRequest,
};
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::harness::Serving;

/// A client of a manager that serves.
pub(crate) struct Control {
    runtime: Runtime,
    client: ImageManagerClient<Channel>,
}

impl Control {
    pub(crate) fn of(serving: &Serving<'_>) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(ImageManagerClient::connect(format!("http://{}", serving.operator)));
        Self { runtime, client: client.unwrap() }
    }

    pub(crate) fn trigger(&self, schedule: &str) -> Result<Build, Status> {
        let request =
            TriggerBuildRequest { schedule: schedule.to_owned(), trigger: 0, force: false, verify: false };
        let answer = self.runtime.block_on(self.client.clone().trigger_build(Request::new(request)));
        answer.map(tonic::Response::into_inner)
    }

    /// Asks the published image once more.
    pub(crate) fn verify(&self, schedule: &str) -> Build {
        let request =
            TriggerBuildRequest { schedule: schedule.to_owned(), trigger: 0, force: false, verify: true };
        self.runtime.block_on(self.client.clone().trigger_build(request)).unwrap().into_inner()
    }

    pub(crate) fn build(&self, id: &str) -> Build {
        let request = GetBuildRequest { id: id.to_owned() };
        self.runtime.block_on(self.client.clone().get_build(request)).unwrap().into_inner()
    }

    pub(crate) fn schedules(&self) -> ListSchedulesResponse {
        let answer = self.runtime.block_on(self.client.clone().list_schedules(ListSchedulesRequest {}));
        answer.unwrap().into_inner()
    }

    pub(crate) fn images(&self, name: &str) -> ListImagesResponse {
        let request = ListImagesRequest { name: name.to_owned(), ..ListImagesRequest::default() };
        self.runtime.block_on(self.client.clone().list_images(request)).unwrap().into_inner()
    }

    pub(crate) fn pause(&self, schedule: &str) -> Schedule {
        self.try_pause(schedule).unwrap()
    }

    pub(crate) fn try_pause(&self, schedule: &str) -> Result<Schedule, Status> {
        let request = PauseScheduleRequest { schedule: schedule.to_owned() };
        let answer = self.runtime.block_on(self.client.clone().pause_schedule(request));
        answer.map(tonic::Response::into_inner)
    }

    pub(crate) fn resume(&self, schedule: &str) -> Schedule {
        self.try_resume(schedule).unwrap()
    }

    pub(crate) fn try_resume(&self, schedule: &str) -> Result<Schedule, Status> {
        let request = ResumeScheduleRequest { schedule: schedule.to_owned() };
        let answer = self.runtime.block_on(self.client.clone().resume_schedule(request));
        answer.map(tonic::Response::into_inner)
    }
}
