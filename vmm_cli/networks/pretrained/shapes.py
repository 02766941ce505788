"""Sizes of what pretrained networks take and give; who runs them as graphs needs no torch."""

from __future__ import annotations

# --- faces: MTCNN and mini-Xception --------------------------------------------------------------

PROPOSAL_SIDE, PROPOSAL_STRIDE = 12, 2  # what one position of ProposalNetwork sees, in pixels
REFINE_SIDE = 24
OUTPUT_SIDE = 48
FACE_SIDE = 64  # of what the expression network sees, in pixels
EXPRESSION_CHANNELS = 128  # of its last block, pooled

# --- speech: silero-vad and Whisper tiny ---------------------------------------------------------

CHUNK = 512  # samples, 32 ms: for each there is one probability of speech
CONTEXT = 64  # samples before the chunk that are seen with it
STATE = 128  # of the LSTM

SPEECH_MELS = 80
SPEECH_WIDTH = 384  # of the encoder's states

# --- pictures: open_nsfw -------------------------------------------------------------------------

NSFW_WIDTH = 1024  # of its features

# --- sounds: YAMNet ------------------------------------------------------------------------------

SOUND_FRAMES, SOUND_MELS = 96, 64  # of what it hears at once
SOUND_WIDTH = 1024  # of its features

# --- text: MiniLM's blocks -----------------------------------------------------------------------

TOKEN_WIDTH = 384

# --- objects and poses: NanoDet-g and MoveNet Lightning -------------------------------------------

OBJECT_SIDE = 416  # of what the detector sees, in pixels: the longer one, where they differ
OBJECT_STEP = 32  # both sides are a multiple of it: the coarsest of the detector's strides
# Of red, green and blue in 0..255: nothing, to the detector, as are the zeros beyond the edge.
OBJECT_MEAN = (123.675, 116.28, 103.53)
CANDIDATES = 300  # how many it gives of a picture, the best first
CANDIDATE = 6  # numbers of each: left, top, right, bottom, score, number of the label
KINDS = 80  # of objects: those of COCO

POSE_SIDE = 192  # of the square that a person is seen in, in pixels
POINTS = 17  # of a body: those of COCO

# A skeleton in a stream: numbers of the person, then those of each point.
PERSON_NUMBERS = 16
POINT_NUMBERS = 5
