/** A quiet word about the connection: while it is being made again, and where one landed. */
import { useCore } from "./hooks";
import { shortRegion, timeOf } from "./words";

export function Banner() {
  const link = useCore((state) => state.link);
  const ready = useCore((state) => state.ready);
  const waiting = useCore((state) => state.outbox.filter((item) => item.state === "queued" || item.state === "sent").length);
  return (
    <div className="banner-place" role="status">
      {words()}
    </div>
  );

  function words() {
    if (link.phase === "live") {
      return link.landed === null ? null : <p className="banner" data-kind="landed">Connected again, at {link.landed.city}.</p>;
    }
    if (link.phase === "off" || link.phase === "ended") return null;
    const since = link.trouble?.since ?? null;
    const home = link.trouble?.code === "home_unreachable" ? link.trouble.region : null;
    return (
      <p className="banner" data-kind="away">
        <span className="banner-bow" aria-hidden="true" />
        <span>
          {home !== null
            ? `Your region ${shortRegion(home)} cannot be reached${since === null ? "" : ` since ${timeOf(Date.parse(since))}`}. Trying again…`
            : ready ? "Reconnecting…" : "Connecting…"}
          {waiting > 0 && ` ${waiting === 1 ? "One message is" : `${waiting} messages are`} kept here until then.`}
        </span>
      </p>
    );
  }
}
