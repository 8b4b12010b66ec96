//! Filling an image from a file or from another image: a stream of chunks, at constant memory, hashed on the way.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use image_manager_proto::hex;
use md5::Md5;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, Response};
use sha2::{Digest, Sha256, Sha512};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::OpenStackCloud;
use super::answers::{ApiError, text, with_reasons};
use super::pace::back_off;
use super::services::Service;
use crate::cloud::{CloudError, ProgressSink, Trouble, incidents};

/// Bytes read at a time; two such chunks wait at most.
const CHUNK: usize = 256 * 1024;
const WAITING: usize = 2;
/// How often the whole file is sent.
const TRIES: u32 = 4;
/// An upload of which nothing moves for so long is broken off.
const STALLED: Duration = Duration::from_mins(2);
/// How long the service may take to answer after the last byte: it may write to a slow store.
const LAST_WORD: Duration = Duration::from_mins(15);
/// How long Glance may take to see that an upload was broken off.
const SETTLING: Duration = Duration::from_mins(1);

/// What is known of a file that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    /// Lower-case hexadecimal.
    pub(super) sha512: String,
    /// The same.
    pub(super) sha256: String,
    /// The same. Proves nothing, but openstacksdk asks for it.
    pub(super) md5: String,
    pub(super) size: u64,
}

/// What an image is filled with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    File(&'a Path),
    /// The data of another image, which has so many bytes.
    Image {
        id: &'a str,
        size: u64,
    },
}

impl OpenStackCloud {
    /// Sends data into a queued image; again when the way was cut and Glance has put the image back.
    pub(super) async fn fill(
        &self,
        id: &str,
        content: Content<'_>,
        progress: ProgressSink<'_>,
    ) -> Result<Sums, CloudError> {
        let tried = format!("uploading image {id}");
        let mut number = 0;
        loop {
            let error = match self.send_content(id, content, progress).await {
                Ok(sums) => return Ok(sums),
                Err(error) => error,
            };
            let may_help = matches!(
                error,
                ApiError::Unreachable(_)
                    | ApiError::Lost(_)
                    | ApiError::Refused { status: 401 | 408 | 429 | 500.., .. }
            );
            number += 1;
            if !may_help || number >= TRIES {
                return Err(error.when(&tried));
            }
            let asked = match &error {
                ApiError::Refused { retry_after, .. } => *retry_after,
                _ => None,
            };
            incidents::note(&format!("{tried}: {}; sent again from the start", error.briefly()));
            progress(0.0, "the upload was cut off: trying again");
            sleep(back_off(number + 1, asked)).await;
            self.settled(id).await.map_err(|late| late.unwrap_or_else(|| error.when(&tried)))?;
        }
    }

    /// Waits until an image whose upload was cut off can be filled again. An error of `None`: it never can.
    async fn settled(&self, id: &str) -> Result<(), Option<CloudError>> {
        let deadline = Instant::now() + SETTLING;
        loop {
            let image =
                self.image(id).await.map_err(|error| Some(error.when(&format!("asking for image {id}"))))?;
            match image.as_ref().map(|image| text(image, "status")) {
                Some("queued") => return Ok(()),
                Some("saving") if Instant::now() < deadline => sleep(Duration::from_secs(2)).await,
                _ => return Err(None),
            }
        }
    }

    async fn send_content(
        &self,
        id: &str,
        content: Content<'_>,
        progress: ProgressSink<'_>,
    ) -> Result<Sums, ApiError> {
        let sent = Arc::new(AtomicU64::new(0));
        let (length, (stream, reading)) = match content {
            Content::File(file) => {
                let open = File::open(file).await.map_err(|error| local(file, &error))?;
                let length = open.metadata().await.map_err(|error| local(file, &error))?.len();
                (length, read(open, Arc::clone(&sent)))
            }
            Content::Image { id, size } => (size, read(self.data_of(id).await?, Arc::clone(&sent))),
        };
        let request = self.session.request(Method::PUT, Service::Image, &format!("images/{id}/file")).await?;
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, length)
            .body(Body::wrap_stream(stream));
        tokio::select! {
            answer = self.session.send(request) => answer?,
            stalled = watch(&sent, length, progress) => return Err(stalled),
        };
        let sums = reading
            .await
            .map_err(|error| ApiError::Lost(error.to_string()))?
            .map_err(|error| content.broken(&error))?;
        if sums.size == length { Ok(sums) } else { Err(content.has_changed(sums.size)) }
    }

    /// The data of an image, from its beginning.
    async fn data_of(&self, id: &str) -> Result<Response, ApiError> {
        let request = self.session.request(Method::GET, Service::Image, &format!("images/{id}/file")).await?;
        let late = |_| ApiError::Lost(format!("no data of image {id} came for {} s", STALLED.as_secs()));
        match timeout(STALLED, self.session.answer(request)).await.map_err(late)? {
            // It is not tried again, and not about the image that is filled.
            Err(error @ ApiError::Refused { status, .. })
                if status < 500 && ![401, 408, 429].contains(&status) =>
            {
                Err(error.when(&format!("reading image {id}")).into())
            }
            answer => answer,
        }
    }
}

impl Content<'_> {
    /// It could not be read to its end.
    fn broken(self, error: &io::Error) -> ApiError {
        match self {
            Self::File(file) => local(file, error),
            Self::Image { id, .. } => ApiError::Lost(format!("reading image {id}: {error}")),
        }
    }

    /// It had so many bytes, and not as many as before.
    fn has_changed(self, size: u64) -> ApiError {
        let message = match self {
            Self::File(file) => format!("{} changed while it was being uploaded", file.display()),
            Self::Image { id, size: expected } => {
                format!("image {id} has {expected} bytes, but its data has {size}")
            }
        };
        CloudError::new(Trouble::Corrupt, message).into()
    }
}

/// What is read in pieces.
trait Pieces: Send + 'static {
    /// The next one; empty at the end.
    fn next(&mut self) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

impl Pieces for File {
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::with_capacity(CHUNK);
        self.take(CHUNK as u64).read_to_end(&mut chunk).await?;
        Ok(chunk)
    }
}

impl Pieces for Response {
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        received(self, STALLED).await
    }
}

/// What comes next of an answer. Nobody waits longer than this: whoever reads would not see that the upload was given up.
async fn received(answer: &mut Response, patience: Duration) -> io::Result<Vec<u8>> {
    loop {
        let late = |_| io::Error::other(format!("nothing came for {} s", patience.as_secs()));
        let chunk = timeout(patience, answer.chunk()).await.map_err(late)?;
        match chunk.map_err(|error| io::Error::other(with_reasons(&error)))? {
            Some(chunk) if chunk.is_empty() => {}
            Some(chunk) => return Ok(chunk.to_vec()),
            None => return Ok(Vec::new()),
        }
    }
}

type Chunks = ReceiverStream<Result<Vec<u8>, io::Error>>;

/// Reads something into chunks and hashes them. The task ends with the stream.
fn read(mut content: impl Pieces, sent: Arc<AtomicU64>) -> (Chunks, JoinHandle<io::Result<Sums>>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let reading = tokio::spawn(async move {
        let (mut sha512, mut sha256, mut md5, mut size) = (Sha512::new(), Sha256::new(), Md5::new(), 0);
        loop {
            let chunk = content.next().await?;
            if chunk.is_empty() {
                break;
            }
            sha512.update(&chunk);
            sha256.update(&chunk);
            md5.update(&chunk);
            let bytes = chunk.len() as u64;
            size += bytes;
            if sender.send(Ok(chunk)).await.is_err() {
                return Err(io::Error::other("the upload was aborted"));
            }
            sent.fetch_add(bytes, Ordering::Relaxed);
        }
        let (sha512, sha256) = (hex(&sha512.finalize()), hex(&sha256.finalize()));
        Ok(Sums { sha512, sha256, md5: hex(&md5.finalize()), size })
    });
    (ReceiverStream::new(receiver), reading)
}

/// Tells how far it is; ends only when nothing has moved for too long.
async fn watch(sent: &AtomicU64, length: u64, progress: ProgressSink<'_>) -> ApiError {
    let mut beat = interval(Duration::from_millis(500));
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        beat.tick().await;
        let now = sent.load(Ordering::Relaxed);
        if now != last {
            (last, moved) = (now, Instant::now());
        }
        #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
        progress(now as f64 / length.max(1) as f64, "uploading");
        let limit = if now >= length { LAST_WORD } else { STALLED };
        if moved.elapsed() > limit {
            return ApiError::Lost(format!(
                "nothing moved for {} s, {now} of {length} bytes sent",
                limit.as_secs()
            ));
        }
    }
}

fn local(file: &Path, error: &io::Error) -> ApiError {
    CloudError::new(Trouble::Fault, format!("cannot read {}: {error}", file.display())).into()
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::cloud::openstack::stage::{self, Stage};

    #[tokio::test]
    async fn an_upload_that_was_cut_off_is_made_again_once_glance_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 9 * CHUNK]).unwrap();
        let (mut puts, mut looks) = (0, 0);
        let stage = Stage::with(move |request| {
            if request == "PUT /v2/images/i/file" {
                puts += 1;
                return if puts == 1 { String::new() } else { "HTTP/1.1 204 Done\r\n\r\n".to_owned() };
            }
            looks += 1;
            let status = if looks == 1 { "saving" } else { "queued" };
            stage::json(&serde_json::json!({"id": "i", "status": status}))
        })
        .await;
        let sums = stage.cloud().fill("i", Content::File(&path), &|_, _| {}).await.unwrap();
        assert_eq!(sums.size, 9 * CHUNK as u64);
        assert_eq!(
            stage.requests(),
            ["PUT /v2/images/i/file", "GET /v2/images/i", "GET /v2/images/i", "PUT /v2/images/i/file"]
        );
    }

    #[tokio::test]
    async fn an_image_that_was_given_up_is_not_filled_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let stage = Stage::with(|request| {
            if request == "GET /v2/images/i" {
                stage::json(&serde_json::json!({"id": "i", "status": "killed"}))
            } else {
                String::new()
            }
        })
        .await;
        let error = stage.cloud().fill("i", Content::File(&path), &|_, _| {}).await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Unavailable);
        assert_eq!(stage.requests().len(), 2);
    }

    #[tokio::test]
    async fn a_file_is_read_in_chunks_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc".repeat(CHUNK)).unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let (stream, reading) = read(File::open(&path).await.unwrap(), Arc::clone(&sent));
        let chunks: Vec<_> = stream.collect().await;
        assert_eq!(chunks.len(), 3);
        let sums = reading.await.unwrap().unwrap();
        assert_eq!((sums.size, sent.load(Ordering::Relaxed)), (3 * CHUNK as u64, 3 * CHUNK as u64));
        assert_eq!(sums.sha256, hex(&Sha256::digest(std::fs::read(&path).unwrap())));
        assert_eq!(sums.sha512, hex(&Sha512::digest(std::fs::read(&path).unwrap())));
        assert_eq!(sums.md5, hex(&Md5::digest(std::fs::read(&path).unwrap())));
    }

    /// Another image whose service says nothing any more.
    #[tokio::test]
    async fn whoever_reads_what_does_not_come_ends() {
        let body = tokio_stream::iter([Ok::<_, io::Error>("abc")]).chain(tokio_stream::pending());
        let mut answer = Response::from(axum::http::Response::new(Body::wrap_stream(body)));
        assert_eq!(received(&mut answer, Duration::from_secs(10)).await.unwrap(), b"abc");
        let error = received(&mut answer, Duration::from_millis(20)).await.unwrap_err();
        assert!(error.to_string().contains("nothing came"), "{error}");
    }

    #[tokio::test]
    async fn reading_ends_with_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![0; 20 * CHUNK]).unwrap();
        let (stream, reading) = read(File::open(&path).await.unwrap(), Arc::default());
        drop(stream);
        assert!(reading.await.unwrap().is_err());
    }
}
