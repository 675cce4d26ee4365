/** The few icons there are, drawn with one pen. */
import type { ReactNode } from "react";

function Icon({ children, size = 18 }: { children: ReactNode; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.6" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const PlusIcon = () => <Icon><path d="M10 4v12M4 10h12" /></Icon>;
export const SearchIcon = () => <Icon><circle cx="9" cy="9" r="5" /><path d="m13 13 3.5 3.5" /></Icon>;
export const BackIcon = () => <Icon><path d="M12 4 6 10l6 6" /></Icon>;
export const PeopleIcon = () => <Icon><circle cx="7.5" cy="7" r="2.7" /><path d="M2.5 16c.5-3 2.5-4.5 5-4.5s4.5 1.5 5 4.5M13 4.6a2.7 2.7 0 0 1 0 4.9M14.8 11.9c1.5.7 2.4 2.1 2.7 4.1" /></Icon>;
export const InviteIcon = () => <Icon><circle cx="8" cy="7" r="2.8" /><path d="M2.8 16c.5-3 2.6-4.5 5.2-4.5 1.3 0 2.4.4 3.3 1.1M15 12v5M12.5 14.5h5" /></Icon>;
export const SendIcon = () => <Icon><path d="M4 10 16.5 4 13 16.5l-3-5.2zM10 11.3 16.5 4" /></Icon>;
export const MoreIcon = () => <Icon><path d="M5 10h.01M10 10h.01M15 10h.01" strokeWidth="2.6" /></Icon>;
export const DownIcon = () => <Icon><path d="M10 4v12M5 11l5 5 5-5" /></Icon>;
export const HashIcon = ({ size = 16 }: { size?: number }) => <Icon size={size}><path d="M7.5 4 6 16M14 4l-1.5 12M4 8h12.5M3.5 12.5H16" /></Icon>;
export const WaitIcon = () => <Icon size={13}><circle cx="10" cy="10" r="6.5" /><path d="M10 6.5V10l2.3 1.6" /></Icon>;
export const MoonIcon = () => <Icon size={13}><path d="M15.5 12.3A6.5 6.5 0 0 1 7.7 4.5a6.5 6.5 0 1 0 7.8 7.8Z" /></Icon>;
export const FaultIcon = () => <Icon size={14}><circle cx="10" cy="10" r="7" /><path d="M10 6.5v4M10 13.3h.01" /></Icon>;
export const ClipIcon = () => <Icon size={20}><path d="m17.2 9.2-7.4 7.3a4.7 4.7 0 0 1-6.7-6.7l6.9-6.8a3.1 3.1 0 0 1 4.5 4.4l-6.9 6.9a1.6 1.6 0 0 1-2.2-2.2l6.8-6.8" /></Icon>;
export const SaveIcon = () => <Icon><path d="M10 3.5v9M6.2 9l3.8 3.8L13.8 9M4 16.5h12" /></Icon>;
export const AgainIcon = () => <Icon size={16}><path d="M15.5 8A6 6 0 1 0 16 11M16 4v4h-4" /></Icon>;
export const TrashIcon = () => <Icon><path d="M4 5.5h12M8 5.5V4a.8.8 0 0 1 .8-.8h2.4a.8.8 0 0 1 .8.8v1.5M5.5 5.5l.7 10a1.3 1.3 0 0 0 1.3 1.3h5a1.3 1.3 0 0 0 1.3-1.3l.7-10M8.5 9v4.5M11.5 9v4.5" /></Icon>;
export const TickIcon = () => <Icon size={16}><path d="m4.5 10.5 3.7 3.7 7.3-8" /></Icon>;
export const ForthIcon = () => <Icon><path d="m8 4 6 6-6 6" /></Icon>;
export const LargerIcon = () => <Icon><circle cx="9" cy="9" r="5" /><path d="m13 13 3.5 3.5M6.8 9h4.4M9 6.8v4.4" /></Icon>;
export const SmallerIcon = () => <Icon><circle cx="9" cy="9" r="5" /><path d="m13 13 3.5 3.5M6.8 9h4.4" /></Icon>;
export const CloseIcon = () => <Icon><path d="m5 5 10 10M15 5 5 15" /></Icon>;
