export default function Authorities() {
  return <h1>Authorities</h1>;
}
