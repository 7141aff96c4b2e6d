//! Codec: requests as generated messages, responses as bytes that are already encoded.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::session::server::{Channel, ResponseToProxy};

/// Codec of one flavour.
pub(super) struct RawCodec<C>(PhantomData<fn() -> C>);

pub(super) struct ResponseEncoder;
pub(super) struct RequestDecoder<R>(PhantomData<fn() -> R>);

impl<C> Default for RawCodec<C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<C: Channel + Send + 'static> Codec for RawCodec<C> {
    type Encode = ResponseToProxy;
    type Decode = C::Request;
    type Encoder = ResponseEncoder;
    type Decoder = RequestDecoder<C::Request>;

    fn encoder(&mut self) -> ResponseEncoder {
        ResponseEncoder
    }

    fn decoder(&mut self) -> RequestDecoder<C::Request> {
        RequestDecoder(PhantomData)
    }
}

impl Encoder for ResponseEncoder {
    type Item = ResponseToProxy;
    type Error = Status;

    fn encode(&mut self, response: ResponseToProxy, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(response.encoded_len());
        response.encode(buffer);
        Ok(())
    }
}

impl<R: Message + Default> Decoder for RequestDecoder<R> {
    type Item = R;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        let malformed = |error| Status::invalid_argument(format!("read a discovery request: {error}"));
        R::decode(buffer).map(Some).map_err(malformed)
    }
}
