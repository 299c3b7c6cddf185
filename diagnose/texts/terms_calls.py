"""Terms of calls, networks and NAT, in our own words."""

from __future__ import annotations

from diagnose.texts.entry import Text

CALLS = {
    "post-dial delay": Text(
        (
            "From the caller's INVITE to the first sign that the far phone rings or answers (180, 183 or final "
            "response)."
        ),
        (
            "More than about 5 s makes callers hang up. Look for the hop whose 100 comes fast and whose 180 is "
            "late: DNS, database dips, routes tried in turn."
        ),
        "RFC 6076 section 4.3 (Session Request Delay)",
        ("PDD",),
    ),
    "annexb": Text(
        (
            "G.729 Annex B is silence suppression with comfort noise. The fmtp parameter annexb says yes or no; "
            "absent means yes."
        ),
        (
            "Say annexb=no on both sides. Equipment that takes an absent value for no disagrees with the standard, "
            "and then words are clipped."
        ),
        "RFC 4856 section 2.1.9, RFC 7261 section 3.3",
        (
            "G.729 annexb",
            "Annex B",
            "VAD",
        ),
    ),
    "ACD": Text(
        "Total talk time divided by answered calls.",
        "A sudden drop tells of one-way audio or of cut calls, though nothing fails in signalling.",
        "ITU-T E.437",
        (
            "average call duration",
            "ALOC",
        ),
    ),
    "ASR": Text(
        "Share of call attempts that were answered, busy and unanswered ones counting against it.",
        "Compare by route and hour. For the network's own part use NER.",
        "ITU-T E.411, RFC 6076 section 4.6",
        ("answer seizure ratio",),
    ),
    "NER": Text(
        (
            "Share of attempts that the network carried to an end: answered, busy, no answer and rejected by the "
            "user all count as success."
        ),
        "It falls only when the network is at fault, unlike ASR.",
        "ITU-T E.425, RFC 6076 section 4.7 (SEER)",
        ("network effectiveness ratio",),
    ),
    "B2BUA": Text(
        (
            "Two user agents in one box: it ends the call on one side and makes a new one on the other, with "
            "another Call-ID. SBCs and most PBXs are such."
        ),
        "A call has two Call-IDs then; look at both legs, and at what one side does not carry over.",
        "RFC 7092, RFC 5853",
        (
            "back-to-back user agent",
            "SBC",
            "session border controller",
        ),
    ),
    "proxy": Text(
        (
            "Passes requests on without being an end of the call; it may add Via and Record-Route but must leave "
            "SDP and tags alone."
        ),
        "Whether it stays in the dialog is told by Record-Route.",
        "RFC 3261 section 16",
        (
            "stateful proxy",
            "stateless proxy",
        ),
    ),
    "user agent": Text(
        (
            "An end of a dialog: the client (UAC) sends a request, the server (UAS) answers it. A device is both in "
            "turn."
        ),
        "User-Agent and Server headers name the product.",
        "RFC 3261 section 6",
        (
            "UA",
            "UAC",
            "UAS",
        ),
    ),
    "registrar": Text(
        "Keeps where each user (address of record) can be reached: the Contacts of their REGISTERs.",
        "404 or 480 for a user who should be there: look at expiry and at the Contact stored.",
        "RFC 3261 section 10",
        (
            "location service",
            "AOR",
            "binding",
        ),
    ),
    "rport": Text(
        (
            "A parameter of Via: asks that replies go to the port where the request came from; the server fills in "
            "that port, and `received` with the address."
        ),
        "Behind NAT always needed on UDP. Absent: replies go to the port in Via and never arrive.",
        "RFC 3581",
        ("received",),
    ),
    "record-route": Text(
        ("A proxy adds it to stay in the dialog; both ends turn the list into the Route headers of later requests."),
        ("An ACK or BYE that goes astray: compare Route with the Record-Route of the 200, and see that each has lr."),
        "RFC 3261 sections 16.6, 12.1 and 16.12.1",
        (
            "Route",
            "loose routing",
            "lr",
        ),
    ),
    "glare": Text(
        (
            "Both sides send a re-INVITE (or an offer) at the same time; each answers 491 and tries again after a "
            "random time."
        ),
        "Harmless now and then; a loop shows a side that does not wait.",
        "RFC 3261 section 14.1, RFC 6141",
        (
            "491",
            "request pending",
        ),
    ),
    "early media": Text(
        ("Audio before the answer: ringback tones and announcements of the far network, announced by SDP in a 18x."),
        "No ringback: the caller ignores the SDP of the 183, or a later 180 switches it to local ringback.",
        "RFC 3960",
        (
            "ringback",
            "183",
        ),
    ),
    "late offer": Text(
        "The INVITE has no SDP: the 200 makes the offer and the ACK answers it.",
        "A lost or empty ACK then leaves the call without media.",
        "RFC 3264 section 4, RFC 3261 section 13.2.1",
        (
            "delayed offer",
            "early offer",
        ),
    ),
    "offer and answer": Text(
        ("One side proposes streams and codecs, the other accepts some of them, stream by stream in the same order."),
        "`siptrail show CALL-ID --media` puts both side by side.",
        "RFC 3264",
        (
            "SDP negotiation",
            "offer/answer",
        ),
    ),
    "comedia": Text(
        "A media server sends audio to where audio comes from, not to what SDP says: the way through NAT.",
        "It needs the far side to send first: two sides that both wait hear nothing.",
        "RFC 4961, RFC 7362",
        (
            "symmetric RTP",
            "latching",
        ),
    ),
    "hairpin": Text(
        (
            "Two devices behind the same NAT reach each other through its public address; the NAT must turn packets "
            "round."
        ),
        "Many routers cannot: audio fails only between colleagues. Use a media relay.",
        "RFC 4787 section 6",
        (
            "hairpinning",
            "NAT loopback",
        ),
    ),
    "SIP ALG": Text(
        "A router that rewrites addresses inside SIP messages on its own, often badly.",
        ("Signs: Via or Contact already public with odd ports, broken Content-Length, changed SDP. Switch it off."),
        "RFC 2663 section 2.9, RFC 3424",
        (
            "ALG",
            "application layer gateway",
        ),
    ),
    "NAT": Text(
        "Private addresses and ports become others on their way out; what SIP says inside no longer fits.",
        "See rport, comedia, `explain nat_uac_test 19`.",
        "RFC 4787, RFC 6314",
        (
            "address translation",
            "PAT",
        ),
    ),
    "STUN": Text(
        (
            "STUN tells a device its public address; TURN relays its media; ICE tries all pairs of addresses and "
            "picks what works."
        ),
        "a=candidate lines show ICE. Audio that starts late: look at failing candidates.",
        "RFC 8489, RFC 8656, RFC 8445",
        (
            "TURN",
            "ICE",
        ),
    ),
    "media relay": Text(
        (
            "A host that receives and forwards audio for others. SDP then names it, while signalling comes from the "
            "proxy."
        ),
        "Two addresses are no fault by themselves; ask whether each side can reach the relay.",
        "RFC 7362, RFC 5853",
        (
            "rtpengine",
            "rtpproxy",
            "media address",
            "anchoring",
        ),
    ),
    "one-way audio": Text(
        "One side hears nothing: usually its SDP names an address where nothing can arrive.",
        "Compare c= lines and directions; `siptrail diagnose` names private addresses.",
        "RFC 8866 section 5.7, RFC 3264",
        (
            "no audio",
            "dead air",
        ),
    ),
    "hold": Text(
        "A re-INVITE with a=sendonly (music) or inactive; old equipment writes 0.0.0.0.",
        "Stuck on hold: the re-INVITE back to sendrecv was refused or never sent.",
        "RFC 3264 section 8.4",
        (
            "music on hold",
            "sendonly",
            "inactive",
        ),
    ),
    "direction": Text(
        (
            "Who sends audio: sendrecv both, sendonly and recvonly one, inactive nobody. The answer must mirror the "
            "offer."
        ),
        "recvonly against recvonly is silence.",
        "RFC 3264 sections 5.1 and 6.1",
        (
            "sendrecv",
            "recvonly",
        ),
    ),
    "DTMF": Text(
        (
            "Key presses as events in RTP, with a dynamic payload type and the codec's clock. Others: INFO, or "
            "tones in the audio."
        ),
        "Absent in the answer: the menus of the far side hear no keys. See that the clock fits the codec.",
        "RFC 4733",
        (
            "telephone-event",
            "RFC 2833",
            "RFC 4733",
        ),
    ),
    "ptime": Text(
        "How many milliseconds of audio a packet holds; 20 is usual.",
        "It is a wish, not negotiated; 30 against 20 may give choppy audio on old gateways.",
        "RFC 8866 section 6.4",
        (
            "packetization time",
            "maxptime",
        ),
    ),
}
